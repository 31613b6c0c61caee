package bench

import (
	"debug/elf"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine is where the numbers were obtained.
type Machine struct {
	Cores       int    `json:"cores"`
	MemoryBytes int64  `json:"memoryBytes"`
	Processor   string `json:"processor"`
	System      string `json:"system"`
}

func thisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Processor: "unknown processor", System: runtime.GOOS + "/" + runtime.GOARCH}
	if name, found := field("/proc/cpuinfo", "model name"); found {
		m.Processor = name
	}
	if total, found := field("/proc/meminfo", "MemTotal"); found {
		kib, _ := strconv.ParseInt(strings.TrimSuffix(total, " kB"), 10, 64)
		m.MemoryBytes = kib << 10
	}
	return m
}

// field finds the first line "name : value" of a file.
func field(path, name string) (string, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

// loadOf tells what else the machine was doing: the load averages.
func loadOf() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// Binary is the program that was measured.
type Binary struct {
	Version  string `json:"version"`
	Bytes    int64  `json:"bytes"`
	Static   bool   `json:"static"`
	Stripped bool   `json:"stripped"`
}

func inspect(path string) (Binary, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Binary{}, fmt.Errorf("finding the controller: %w", err)
	}
	file, err := elf.Open(path)
	if err != nil {
		return Binary{}, fmt.Errorf("reading the controller: %w", err)
	}
	defer file.Close()
	b := Binary{Bytes: info.Size(), Static: true, Stripped: file.Section(".symtab") == nil}
	for _, part := range file.Progs {
		if part.Type == elf.PT_INTERP {
			b.Static = false
		}
	}
	return b, nil
}
