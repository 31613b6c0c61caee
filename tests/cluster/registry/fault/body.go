package fault

import (
	"net/http"
	"strconv"

	"golang.org/x/time/rate"
)

// maxBurstBytes is what a throttled body sends in one piece at most.
const maxBurstBytes = 64 << 10

// body changes, slows down or cuts what is sent.
type body struct {
	http.ResponseWriter
	request *http.Request
	plan    plan
	sent    int64
}

func (b *body) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *body) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		piece := data[written:]
		for _, limit := range b.plan.throttles {
			piece = piece[:min(len(piece), limit.Burst())]
		}
		piece, last := b.cut(piece)
		n, err := b.send(b.change(piece))
		written += n
		b.sent += int64(n)
		if err != nil {
			return written, err
		}
		if last {
			reset(b.ResponseWriter, b.request)
		}
	}
	return written, nil
}

// cut leaves of a piece what may be sent before a reset, and says whether that
// is the last of it.
func (b *body) cut(piece []byte) ([]byte, bool) {
	if b.plan.end == nil || b.plan.end.Effect != Reset {
		return piece, false
	}
	left := b.plan.end.AfterBytes - b.sent
	if int64(len(piece)) < left {
		return piece, false
	}
	return piece[:left], true
}

// change returns what is sent in place of a piece.
func (b *body) change(piece []byte) []byte {
	if b.plan.end == nil {
		return piece
	}
	switch b.plan.end.Effect {
	case Garbage:
		changed := make([]byte, len(piece))
		for at := range changed {
			changed[at] = "no image. "[(b.sent+int64(at))%10]
		}
		return changed
	case Wrong:
		// Without a length the first byte is as good.
		target := int64(0)
		if length, err := strconv.ParseInt(b.Header().Get("Content-Length"), 10, 64); err == nil {
			target = length - 1
		}
		if at := target - b.sent; at >= 0 && at < int64(len(piece)) {
			changed := append([]byte(nil), piece...)
			changed[at] ^= 0xff
			return changed
		}
	}
	return piece
}

func (b *body) send(piece []byte) (int, error) {
	if len(piece) == 0 {
		return 0, nil
	}
	for _, limit := range b.plan.throttles {
		if err := b.wait(limit, len(piece)); err != nil {
			return 0, err
		}
	}
	n, err := b.ResponseWriter.Write(piece)
	if err == nil && len(b.plan.throttles) > 0 {
		err = http.NewResponseController(b.ResponseWriter).Flush()
	}
	return n, err
}

func (b *body) wait(limit *rate.Limiter, bytes int) error {
	return limit.WaitN(b.request.Context(), bytes)
}
