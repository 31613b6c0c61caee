package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"quayctl.test/registry/counts"
	"quayctl.test/registry/images"
)

func wantWords(t *testing.T, said, words string) {
	t.Helper()
	if !strings.Contains(said, words) {
		t.Errorf("it said %q, and not %q", said, words)
	}
}

func getJSON(t *testing.T, request *http.Request, status int, into any) {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		t.Fatalf("%s answered %s", request.URL, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// blobs are the rows of blobs that were sent.
func blobs(counted counts.Counts) []counts.Row {
	return slices.DeleteFunc(slices.Clone(counted.Rows), func(row counts.Row) bool {
		return row.Kind != counts.Blob || row.Method != http.MethodGet
	})
}

// wantBlobsOnce checks that all blobs of an image's one platform were sent, each once.
func wantBlobsOnce(t *testing.T, pushed images.Pushed, counted counts.Counts) {
	t.Helper()
	want := append(slices.Clone(pushed.Images[0].Layers), pushed.Images[0].Config)
	var got []string
	bytes := int64(0)
	for _, row := range blobs(counted) {
		if row.Requests != 1 || row.Status != http.StatusOK {
			t.Errorf("not once: %+v", row)
		}
		got = append(got, row.Reference)
		bytes += row.Bytes
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("sent were %v, not %v", got, want)
	}
	if bytes != pushed.Images[0].Bytes {
		t.Errorf("%d bytes of blobs, not %d", bytes, pushed.Images[0].Bytes)
	}
}

func TestCountsAreExact(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "1000003", "--layers", "4", "--platform", "linux/amd64", "--platform", "linux/arm64")
	plain := s.face("plain")
	idle := s.face("idle")
	mustPull(t, plain, "team/app:1.0", remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))

	var counted counts.Counts
	eventually(t, "the last request has ended", func() bool {
		counted = s.counts("plain")
		return counted.Active == 0
	})
	wantBlobsOnce(t, pushed, counted)
	sum := int64(0)
	manifests := 0
	for _, row := range counted.Rows {
		sum += row.Bytes
		if row.Repository == "team/app" && row.Kind == counts.Manifest {
			manifests++
			if row.Requests != 1 || row.Reference != "1.0" && row.Reference != pushed.Images[0].Digest {
				t.Errorf("manifest: %+v", row)
			}
		}
	}
	if manifests != 2 {
		t.Errorf("%d manifests were asked for, not the index and one of its images", manifests)
	}
	// Two manifests, five blobs and the first request of all.
	if counted.Requests != 8 || counted.Bytes != sum || counted.Uncounted != 0 {
		t.Errorf("requests %d, bytes %d of %d", counted.Requests, counted.Bytes, sum)
	}
	if other := s.counts(idle.Name); other.Requests != 0 || len(other.Rows) != 0 {
		t.Errorf("another face counted too: %+v", other)
	}

	if last := s.counts("plain", "--reset"); last.Requests != 8 {
		t.Errorf("a reset tells %d requests", last.Requests)
	}
	if after := s.counts("plain"); after.Requests != 0 || after.Bytes != 0 || len(after.Rows) != 0 {
		t.Errorf("after a reset: %+v", after)
	}
	wantWords(t, s.fails("counts", "none"), "no such face")
}

func TestBytesAreCountedWhileTheyAreSent(t *testing.T) {
	s := serving(t)
	pushed := s.push("team/app:1.0", "--size", "200kB")
	plain := s.face("plain")
	s.fault("plain", "--effect", "throttle", "--rate", "20000")
	response, err := http.Get(plain.URL + "/v2/team/app/blobs/" + pushed.Images[0].Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "some bytes are counted", func() bool {
		counted := s.counts("plain")
		return counted.Active == 1 && counted.Requests == 0 && counted.Bytes > 0 && counted.Bytes < 200_000
	})
	response.Body.Close()
	eventually(t, "the request has ended", func() bool { return s.counts("plain").Active == 0 })
	if rows := blobs(s.counts("plain")); len(rows) != 1 || rows[0].Bytes == 0 || rows[0].Bytes >= 200_000 {
		t.Errorf("rows are %+v", rows)
	}
}
