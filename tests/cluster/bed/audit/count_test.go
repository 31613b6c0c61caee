package audit

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// line is as the API server writes it, less the fields nobody reads here.
func line(id, stage, verb, uri, agent, ref string, code int, at time.Time) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":%q,"stage":%q,`+
		`"requestURI":%q,"verb":%q,"user":{"username":"admin"},"userAgent":%q,%s"responseStatus":{"metadata":{},"code":%d},`+
		`"requestReceivedTimestamp":%q}`+"\n",
		id, stage, uri, verb, agent, ref, code, at.Format("2006-01-02T15:04:05.000000Z07:00"))
}

const (
	jobs   = `"objectRef":{"resource":"jobs","namespace":"a","apiGroup":"batch","apiVersion":"v1"},`
	status = `"objectRef":{"resource":"pods","namespace":"a","name":"p","apiVersion":"v1","subresource":"status"},`

	ours    = "quayctl-controller/0.1.0"
	kubectl = "kubectl/v1.37.2 (linux/amd64) kubernetes/v1.37.2"
)

func count(t *testing.T, log string, filter Filter) Counts {
	t.Helper()
	counts, err := Count(strings.NewReader(log), filter)
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestRequestsAreCountedByClientVerbResourceAndCode(t *testing.T) {
	log := line("1", "ResponseComplete", "create", "/apis/batch/v1/namespaces/a/jobs", ours, jobs, 201, noon) +
		line("2", "ResponseComplete", "create", "/apis/batch/v1/namespaces/a/jobs", ours, jobs, 201, noon) +
		line("3", "ResponseComplete", "create", "/apis/batch/v1/namespaces/a/jobs", ours, jobs, 409, noon) +
		line("4", "ResponseComplete", "get", "/version?timeout=32s", kubectl, "", 200, noon) +
		line("5", "ResponseComplete", "patch", "/api/v1/namespaces/a/pods/p/status", "bed/bed:kubelets", status, 200, noon)
	want := Counts{Requests: 5, Rows: []Row{
		{"bed/bed:kubelets", "patch", "pods/status", 200, 1},
		{"kubectl/v1.37.2", "get", "/version", 200, 1},
		{ours, "create", "jobs", 201, 2},
		{ours, "create", "jobs", 409, 1},
	}}
	if got := count(t, log, Filter{}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAWatchCountsOnceOpenOrEnded(t *testing.T) {
	uri := "/apis/batch/v1/namespaces/a/jobs?watch=true"
	log := line("ended", "ResponseStarted", "watch", uri, ours, jobs, 200, noon) +
		line("open", "ResponseStarted", "watch", uri, ours, jobs, 200, noon) +
		line("refused", "ResponseComplete", "watch", uri, ours, jobs, 429, noon) +
		line("ended", "ResponseComplete", "watch", uri, ours, jobs, 200, noon)
	want := []Row{{ours, "watch", "jobs", 200, 2}, {ours, "watch", "jobs", 429, 1}}
	if got := count(t, log, Filter{}); !reflect.DeepEqual(got.Rows, want) {
		t.Errorf("got %+v, want %+v", got.Rows, want)
	}
}

func TestFilters(t *testing.T) {
	log := line("1", "ResponseComplete", "list", "/api/v1/nodes", ours, "", 200, noon) +
		line("2", "ResponseComplete", "list", "/api/v1/nodes", kubectl, "", 200, noon.Add(time.Second)) +
		line("3", "ResponseComplete", "list", "/api/v1/nodes?x="+ours, kubectl, "", 200, noon.Add(2*time.Second))
	for _, test := range []struct {
		filter Filter
		want   int
	}{
		{Filter{}, 3},
		{Filter{UserAgent: "quayctl-controller/"}, 1},
		{Filter{UserAgent: "kubectl"}, 2},
		{Filter{UserAgent: "nobody"}, 0},
		{Filter{Since: noon.Add(time.Second)}, 2},
		{Filter{Since: noon, Until: noon.Add(time.Second)}, 1},
	} {
		if got := count(t, log, test.filter).Requests; got != test.want {
			t.Errorf("%+v: %d requests, want %d", test.filter, got, test.want)
		}
	}
}

func TestHalfWrittenLinesAreSkippedAndLongOnesRead(t *testing.T) {
	whole := line("1", "ResponseComplete", "list", "/api/v1/nodes", ours, "", 200, noon)
	long := line("2", "ResponseComplete", "list", "/"+strings.Repeat("x", 3<<20), ours, "", 200, noon)
	// A killed API server's last line runs into its successor's first, and the
	// last line of all may be in the making.
	got := count(t, whole+long+whole[:40]+whole+whole[:len(whole)-1], Filter{})
	if got.Requests != 2 || got.Unreadable != 1 {
		t.Errorf("got %d requests and %d unreadable lines, want 2 and 1", got.Requests, got.Unreadable)
	}
}
