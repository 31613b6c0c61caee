// Package fault makes a face answer as a registry does that is in trouble, by
// rules that can be changed while it serves.
package fault

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
)

// Effect is what a rule does to a request that it matches.
type Effect string

const (
	// Status answers Rule.Status instead of what was asked for.
	Status Effect = "status"
	// Delay waits for Rule.DelayMilliseconds before anything else.
	Delay Effect = "delay"
	// Throttle sends the body at Rule.BytesPerSecond.
	Throttle Effect = "throttle"
	// Reset ends the connection with a TCP reset after Rule.AfterBytes of the body.
	Reset Effect = "reset"
	// Hang never answers. When its rule is cleared, what hangs is cut.
	Hang Effect = "hang"
	// Garbage sends a body of the right length that means nothing.
	Garbage Effect = "garbage"
	// Wrong sends a body whose last byte is another, so that its digest is.
	Wrong Effect = "wrong"
)

// What a throttled rate is shared by.
const (
	PerRequest = "request"
	PerFace    = "face"
)

// Bounds that no test comes near.
const (
	maxDelayMilliseconds = 3_600_000
	maxPathBytes         = 1000
)

// Rule says which requests of a face get which fault.
type Rule struct {
	ID int `json:"id"`
	// Path is a regular expression that is looked for in the path, such as
	// "^/v2/team/app/blobs/".
	Path string `json:"path"`
	// Methods that it holds for. None: GET where the effect is one of the body,
	// else any.
	Methods []string `json:"methods"`
	// Times it takes effect; 0: until it is cleared.
	Times int64 `json:"times"`
	// Used is how often it has.
	Used   int64  `json:"used"`
	Effect Effect `json:"effect"`

	Status int `json:"status,omitempty"`
	// RetryAfter is the header as it is to stand: seconds or a date.
	RetryAfter        string `json:"retry_after,omitempty"`
	DelayMilliseconds int64  `json:"delay_ms,omitempty"`
	BytesPerSecond    int64  `json:"bytes_per_second,omitempty"`
	// Per is what the rate is shared by: each request for itself, or all
	// requests of the face that the rule matches.
	Per        string `json:"per,omitempty"`
	AfterBytes int64  `json:"after_bytes,omitempty"`
}

// validate completes a rule and says what is wrong with it.
func (r *Rule) validate() (*regexp.Regexp, error) {
	if len(r.Path) > maxPathBytes {
		return nil, fmt.Errorf("path has %d bytes, more than %d", len(r.Path), maxPathBytes)
	}
	path, err := regexp.Compile(r.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q is not a regular expression: %w", r.Path, err)
	}
	if r.Times < 0 {
		return nil, fmt.Errorf("times is %d; use 0 for always, or more", r.Times)
	}
	if r.Methods == nil {
		r.Methods = []string{}
	}
	ofBody := false
	switch r.Effect {
	case Status:
		if r.Status < 400 || r.Status > 599 {
			return nil, fmt.Errorf("status is %d; use one of 400 to 599", r.Status)
		}
	case Delay:
		if r.DelayMilliseconds < 1 || r.DelayMilliseconds > maxDelayMilliseconds {
			return nil, fmt.Errorf("delay_ms is %d; use 1 to %d", r.DelayMilliseconds, maxDelayMilliseconds)
		}
	case Throttle:
		ofBody = true
		if r.BytesPerSecond < 1 {
			return nil, fmt.Errorf("bytes_per_second is %d; use 1 or more", r.BytesPerSecond)
		}
		if r.Per == "" {
			r.Per = PerRequest
		}
		if r.Per != PerRequest && r.Per != PerFace {
			return nil, fmt.Errorf("per is %q; use %s or %s", r.Per, PerRequest, PerFace)
		}
	case Reset:
		ofBody = true
		if r.AfterBytes < 0 {
			return nil, fmt.Errorf("after_bytes is %d; use 0 or more", r.AfterBytes)
		}
	case Garbage, Wrong:
		ofBody = true
	case Hang:
	default:
		return nil, fmt.Errorf("effect is %q; use status, delay, throttle, reset, hang, garbage or wrong", r.Effect)
	}
	if ofBody && len(r.Methods) == 0 {
		r.Methods = []string{http.MethodGet}
	}
	return path, nil
}

func (r *active) matches(request *http.Request) bool {
	return (r.Times == 0 || r.Used < r.Times) &&
		(len(r.Methods) == 0 || slices.Contains(r.Methods, request.Method)) &&
		r.path.MatchString(request.URL.Path)
}
