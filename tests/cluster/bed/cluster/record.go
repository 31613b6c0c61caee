package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Record is what a supervisor leaves for others to read: who it is and what it
// has started.
type Record struct {
	PID        int            `json:"pid"`
	Birth      string         `json:"birth"`
	Server     string         `json:"server"`
	Kubeconfig string         `json:"kubeconfig"`
	Log        string         `json:"log"`
	Dir        string         `json:"dir"`
	Registry   string         `json:"registry,omitempty"` // see Ready
	Components []PartOfRecord `json:"components"`
}

// PartOfRecord is one component of a record.
type PartOfRecord struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Birth string `json:"birth"`
	Port  int    `json:"port"`
	Log   string `json:"log"`
	// Node is the real node that it belongs to, if any.
	Node string `json:"node,omitempty"`
}

// write replaces the record in one step, so that readers never see half of it.
func (r Record) write(at layout) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the record: %w", err)
	}
	fresh := at.state("bed.json.new")
	if err := os.WriteFile(fresh, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the record: %w", err)
	}
	if err := os.Rename(fresh, at.state("bed.json")); err != nil {
		return fmt.Errorf("replacing the record: %w", err)
	}
	return nil
}

// errNoRecord means that nothing was ever started there.
var errNoRecord = errors.New("no cluster is running there")

func readRecord(at layout) (Record, error) {
	data, err := os.ReadFile(at.state("bed.json"))
	if errors.Is(err, os.ErrNotExist) {
		return Record{}, errNoRecord
	}
	if err != nil {
		return Record{}, fmt.Errorf("reading the record: %w", err)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("the record %s is damaged: %w", at.state("bed.json"), err)
	}
	return r, nil
}

// alive says whether the supervisor of this record still is.
func (r Record) alive() bool {
	birth, err := birthOf(r.PID)
	return err == nil && birth == r.Birth
}
