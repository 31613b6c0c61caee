// Package counts counts what a face was asked and what it has sent, in bounded
// memory.
package counts

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// maxRows bounds the memory of a face's counts at about 5 MB.
const maxRows = 10_000

// Key is what requests are told apart by.
type Key struct {
	Repository string `json:"repository"`
	Kind       string `json:"kind"`
	// Reference is the tag or digest of a manifest, or the digest of a blob.
	Reference string `json:"reference"`
	Method    string `json:"method"`
	// Status is 0 where the face cut the connection without an answer.
	Status int `json:"status"`
}

// Row is the requests with one key that have ended.
type Row struct {
	Key
	Requests int64 `json:"requests"`
	// Bytes are those of bodies, as far as they were handed to the connection.
	Bytes int64 `json:"bytes"`
}

// Counts is what a face has counted.
type Counts struct {
	// Requests that have ended, and Active ones.
	Requests int64 `json:"requests"`
	Active   int64 `json:"active"`
	// Bytes of bodies sent so far, also by requests that have not ended.
	Bytes int64 `json:"bytes"`
	Rows  []Row `json:"rows"`
	// Uncounted requests had no row of their own, because there were too many.
	Uncounted int64 `json:"uncounted"`
}

// Counter counts the requests of one face.
type Counter struct {
	mutex               sync.Mutex
	rows                map[Key]*Row
	requests, uncounted int64
	active, bytes       atomic.Int64
}

// New gives a counter at zero.
func New() *Counter { return &Counter{rows: map[Key]*Row{}} }

// Count counts the requests that go through to next.
func (c *Counter) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := Key{Method: r.Method}
		key.Repository, key.Kind, key.Reference = describe(r)
		counted := &writer{ResponseWriter: w, total: &c.bytes, bodiless: r.Method == http.MethodHead}
		c.active.Add(1)
		whole := false
		// Deferred, as a connection is cut by a panic.
		defer func() {
			if whole && counted.status == 0 {
				counted.status = http.StatusOK
			}
			key.Status = counted.status
			c.add(key, counted.bytes)
		}()
		next.ServeHTTP(counted, r)
		whole = true
	})
}

func (c *Counter) add(key Key, bytes int64) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.active.Add(-1)
	c.requests++
	row := c.rows[key]
	if row == nil {
		if len(c.rows) >= maxRows {
			c.uncounted++
			return
		}
		row = &Row{Key: key}
		c.rows[key] = row
	}
	row.Requests++
	row.Bytes += bytes
}

// Read returns the counts, and with reset sets them to zero in the same moment.
func (c *Counter) Read(reset bool) Counts {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	counts := Counts{Requests: c.requests, Active: c.active.Load(), Bytes: c.bytes.Load(), Rows: []Row{}, Uncounted: c.uncounted}
	for _, row := range c.rows {
		counts.Rows = append(counts.Rows, *row)
	}
	slices.SortFunc(counts.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Kind, b.Kind),
			cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status))
	})
	if reset {
		clear(c.rows)
		c.requests, c.uncounted = 0, 0
		c.bytes.Add(-counts.Bytes)
	}
	return counts
}

// writer notes the status and counts the bytes of a body.
type writer struct {
	http.ResponseWriter
	total  *atomic.Int64
	status int
	bytes  int64
	// bodiless answers are to HEAD: what is written to them is not sent.
	bodiless bool
}

func (w *writer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(data)
	if !w.bodiless {
		w.bytes += int64(n)
		w.total.Add(int64(n))
	}
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
