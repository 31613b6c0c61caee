package counts

import (
	"net/http"
	"regexp"
)

// What a request is about.
const (
	Manifest = "manifest"
	Blob     = "blob"
	Upload   = "upload"
	Tags     = "tags"
	Token    = "token"
	Ping     = "ping"
	Other    = "other"
)

// TokenPath is where faces with tokens give them out.
const TokenPath = "/token"

var apiPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs|tags)/([^/]+)(/[^/]*)?$`)

// describe takes a request apart. The reference is a tag or a digest.
func describe(r *http.Request) (repository, kind, reference string) {
	switch path := r.URL.Path; path {
	case "/v2/", "/v2":
		return "", Ping, ""
	case TokenPath:
		return "", Token, ""
	default:
		part := apiPath.FindStringSubmatch(path)
		switch {
		case part == nil:
			return "", Other, ""
		case part[2] == "manifests":
			return part[1], Manifest, part[3]
		case part[2] == "tags":
			return part[1], Tags, ""
		case part[3] == "uploads":
			return part[1], Upload, ""
		default:
			return part[1], Blob, part[3]
		}
	}
}

// Repository is the repository that a request is about, or nothing.
func Repository(r *http.Request) string {
	repository, _, _ := describe(r)
	return repository
}
