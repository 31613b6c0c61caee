// references tells what distribution/reference, which containerd and CRI use, makes of image
// references. It reads one a line, or a JSON string where a line could not hold it, and writes what
// tests/it/oracles.rs compares ImageRef with. In tests/cluster/oracles:
//
//	go run ./references <../../vectors/references.txt >../../vectors/references.json
package main

import (
	"bufio"
	// A digest's algorithm is only known where it is linked in, as it is in every container runtime.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/distribution/reference"
)

// vector is what became of one reference; all but the first two are empty for one that is refused.
type vector struct {
	Written string `json:"written"`
	Valid   bool   `json:"valid"`
	Domain  string `json:"domain,omitempty"`
	Path    string `json:"path,omitempty"`
	Tag     string `json:"tag,omitempty"`
	Digest  string `json:"digest,omitempty"`
	// With tag and digest. ParseDockerRef, which containerd pulls by, drops a tag beside a digest;
	// ImageRef keeps it, because a Job's content is what was written.
	Normalised string `json:"normalised,omitempty"`
	Docker     string `json:"docker,omitempty"`
}

func main() {
	var vectors []string
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		written := lines.Text()
		if strings.HasPrefix(written, "#") {
			continue
		}
		if strings.HasPrefix(written, `"`) {
			fail(json.Unmarshal([]byte(lines.Text()), &written))
		}
		text, err := json.Marshal(ask(written))
		fail(err)
		vectors = append(vectors, string(text))
	}
	fail(lines.Err())
	fmt.Printf("[\n%s\n]\n", strings.Join(vectors, ",\n"))
}

func ask(written string) vector {
	docker, dockerErr := reference.ParseDockerRef(written)
	named, err := reference.ParseNormalizedNamed(written)
	if (dockerErr == nil) != (err == nil) {
		fail(fmt.Errorf("%q is valid only one way: %v, %v", written, dockerErr, err))
	}
	if err != nil {
		return vector{Written: written}
	}
	named = reference.TagNameOnly(named)
	vector := vector{
		Written:    written,
		Valid:      true,
		Domain:     reference.Domain(named),
		Path:       reference.Path(named),
		Normalised: named.String(),
		Docker:     docker.String(),
	}
	if tagged, ok := named.(reference.Tagged); ok {
		vector.Tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		vector.Digest = digested.Digest().String()
	}
	return vector
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "references:", err)
		os.Exit(1)
	}
}
