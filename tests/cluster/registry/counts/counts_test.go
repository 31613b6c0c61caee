package counts

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestRequestsAreTakenApart(t *testing.T) {
	for path, want := range map[string][3]string{
		"/v2/":                               {"", Ping, ""},
		"/token":                             {"", Token, ""},
		"/v2/a/manifests/1.0":                {"a", Manifest, "1.0"},
		"/v2/a/b/c/manifests/sha256:00":      {"a/b/c", Manifest, "sha256:00"},
		"/v2/a/b/blobs/sha256:00":            {"a/b", Blob, "sha256:00"},
		"/v2/a/blobs/uploads/":               {"a", Upload, ""},
		"/v2/a/blobs/uploads/some-id":        {"a", Upload, ""},
		"/v2/a/tags/list":                    {"a", Tags, ""},
		"/v2/blobs/manifests/manifests/tags": {"blobs/manifests", Manifest, "tags"},
		"/v2/_catalog":                       {"", Other, ""},
		"/":                                  {"", Other, ""},
	} {
		repository, kind, reference := describe(httptest.NewRequest(http.MethodGet, path, nil))
		if got := [3]string{repository, kind, reference}; got != want {
			t.Errorf("%s is %q, not %q", path, got, want)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	counter := New()
	handler := counter.Count(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("four")) }))
	ask := func(number int) {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, fmt.Sprintf("/v2/a/manifests/%d", number), nil))
	}
	for number := range maxRows + 2 {
		ask(number)
	}
	ask(0)
	counted := counter.Read(false)
	if len(counted.Rows) != maxRows || counted.Uncounted != 2 || counted.Requests != maxRows+3 || counted.Bytes != 4*(maxRows+3) {
		t.Errorf("%d rows, %d uncounted, %d requests, %d bytes", len(counted.Rows), counted.Uncounted, counted.Requests, counted.Bytes)
	}
}

func TestWhatIsCutIsCounted(t *testing.T) {
	counter := New()
	handler := counter.Count(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	func() {
		defer func() { _ = recover() }()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v2/", nil))
	}()
	counted := counter.Read(false)
	if counted.Active != 0 || len(counted.Rows) != 1 || counted.Rows[0].Status != 0 {
		t.Errorf("%+v", counted)
	}
}
