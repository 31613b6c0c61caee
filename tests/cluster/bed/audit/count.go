package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Filter says which requests to count.
type Filter struct {
	UserAgent string    // prefix of the user agent; empty: any
	Since     time.Time // when the request was received; zero: any time
	Until     time.Time // zero: any time
}

// Row is how often one client made one kind of request.
type Row struct {
	UserAgent string `json:"userAgent"` // the product, as in kubectl/v1.37.2
	Verb      string `json:"verb"`
	Resource  string `json:"resource"` // with /subresource; the path of other requests
	Code      int    `json:"code"`
	Count     int    `json:"count"`
}

// Counts is the result.
type Counts struct {
	Requests   int   `json:"requests"`
	Unreadable int   `json:"unreadable"` // lines a killed API server left half written
	Rows       []Row `json:"rows"`
}

// entry is what is read of a line.
type entry struct {
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	UserAgent  string `json:"userAgent"`
	ObjectRef  *struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received time.Time `json:"requestReceivedTimestamp"`
}

// kind is what the rows are told apart by.
type kind struct {
	agent, verb, resource string
	code                  int
}

// counter reads a log line by line; it keeps the sums and the long-running
// requests that are still open, so its memory does not grow with the log.
type counter struct {
	filter     Filter
	marker     []byte // what every line of the wanted agents holds
	sums       map[kind]int
	open       map[string]bool
	unreadable int
}

// Count reads a whole log.
func Count(log io.Reader, filter Filter) (Counts, error) {
	c := &counter{filter: filter, sums: map[kind]int{}, open: map[string]bool{}}
	if filter.UserAgent != "" {
		quoted, err := json.Marshal(filter.UserAgent)
		if err != nil {
			return Counts{}, fmt.Errorf("encoding the user agent: %w", err)
		}
		c.marker = append([]byte(`"userAgent":`), bytes.TrimSuffix(quoted, []byte{'"'})...)
	}
	lines := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := next(lines)
		if errors.Is(err, io.EOF) {
			return c.counts(), nil // a last line without an end is still being written
		}
		if err != nil {
			return Counts{}, fmt.Errorf("reading the audit log: %w", err)
		}
		c.take(line)
	}
}

// next gives a line, which stays valid until the next call.
func next(lines *bufio.Reader) ([]byte, error) {
	line, err := lines.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	whole := slices.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = lines.ReadSlice('\n')
		whole = append(whole, line...)
	}
	return whole, err
}

func (c *counter) take(line []byte) {
	// Looking for some bytes is far cheaper than decoding, and in a large
	// cluster nearly all lines are about kubelets and controllers.
	if c.marker != nil && !bytes.Contains(line, c.marker) {
		return
	}
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		c.unreadable++
		return
	}
	if !c.filter.wants(&e) || !c.first(&e) {
		return
	}
	c.sums[kind{product(e.UserAgent), e.Verb, e.resource(), e.ResponseStatus.Code}]++
}

func (f Filter) wants(e *entry) bool {
	return strings.HasPrefix(e.UserAgent, f.UserAgent) &&
		!e.Received.Before(f.Since) &&
		(f.Until.IsZero() || e.Received.Before(f.Until))
}

// first says whether this line is the first about its request. Long-running
// ones, such as watches, have two: when the response starts and when it ends.
// They count from the first on, so that open ones are not missed.
func (c *counter) first(e *entry) bool {
	switch e.Stage {
	case "ResponseStarted":
		c.open[e.AuditID] = true
		return true
	case "ResponseComplete", "Panic":
		if c.open[e.AuditID] {
			delete(c.open, e.AuditID)
			return false
		}
		return true
	default: // RequestReceived: nothing is known of its outcome
		return false
	}
}

func product(agent string) string {
	product, _, _ := strings.Cut(agent, " ")
	return product
}

func (e *entry) resource() string {
	switch {
	case e.ObjectRef == nil:
		path, _, _ := strings.Cut(e.RequestURI, "?")
		return path
	case e.ObjectRef.Subresource != "":
		return e.ObjectRef.Resource + "/" + e.ObjectRef.Subresource
	default:
		return e.ObjectRef.Resource
	}
}

// counts sorts by client and then puts what there is most of first.
func (c *counter) counts() Counts {
	result := Counts{Unreadable: c.unreadable, Rows: []Row{}}
	for k, n := range c.sums {
		result.Requests += n
		result.Rows = append(result.Rows, Row{k.agent, k.verb, k.resource, k.code, n})
	}
	slices.SortFunc(result.Rows, func(a, b Row) int {
		return cmp.Or(
			cmp.Compare(a.UserAgent, b.UserAgent),
			cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Resource, b.Resource),
			cmp.Compare(a.Verb, b.Verb),
			cmp.Compare(a.Code, b.Code),
		)
	})
	return result
}

// Of gives the sum of the rows a test wants.
func (c Counts) Of(wanted func(Row) bool) int {
	sum := 0
	for _, row := range c.Rows {
		if wanted(row) {
			sum += row.Count
		}
	}
	return sum
}
