package face

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"quayctl.test/registry/counts"
	"quayctl.test/registry/fault"
)

// tokenSeconds is how long a token is good for, as in distribution's documentation.
const tokenSeconds = 300

// guard lets through only who may.
type guard struct {
	options Options
	key     []byte // of tokens
}

func newGuard(options Options) *guard {
	key := make([]byte, 32)
	rand.Read(key)
	return &guard{options, key}
}

// protect asks for what the face's options say. What has passed goes to next;
// so does a token's request, by way of through.
func (g *guard) protect(through func(http.Handler) http.Handler, next http.Handler) http.Handler {
	open, tokens := through(next), through(http.HandlerFunc(g.giveToken))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case g.options.Auth == Token && r.URL.Path == counts.TokenPath:
			tokens.ServeHTTP(w, r)
		case g.isAllowed(r):
			open.ServeHTTP(w, r)
		default:
			g.challenge(w, r)
		}
	})
}

func (g *guard) isAllowed(r *http.Request) bool {
	switch g.options.Auth {
	case Basic:
		return g.knows(r)
	case Token:
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		return ok && g.isValid(token)
	default:
		return true
	}
}

func (g *guard) knows(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && subtle.ConstantTimeCompare([]byte(user), []byte(g.options.User))&
		subtle.ConstantTimeCompare([]byte(password), []byte(g.options.Password)) == 1
}

func (g *guard) challenge(w http.ResponseWriter, r *http.Request) {
	if g.options.Auth == Basic || r.URL.Path == counts.TokenPath {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", r.Host))
	} else {
		challenge := fmt.Sprintf("Bearer realm=%q,service=%q", g.options.scheme()+"://"+r.Host+counts.TokenPath, r.Host)
		if repository := counts.Repository(r); repository != "" {
			challenge += fmt.Sprintf(",scope=%q", "repository:"+repository+":pull")
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	fault.WriteError(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// giveToken answers GET with basic auth. Clients that begin with OAuth's POST
// go on with GET after a 405.
func (g *guard) giveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		fault.WriteError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "use GET")
		return
	}
	if !g.knows(r) {
		g.challenge(w, r)
		return
	}
	token := g.sign(time.Now().Add(tokenSeconds * time.Second).Unix())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "expires_in": tokenSeconds})
}

// sign makes the token that is good until then; nothing has to be kept.
func (g *guard) sign(until int64) string {
	mac := hmac.New(sha256.New, g.key)
	fmt.Fprint(mac, until)
	return fmt.Sprintf("%d.%s", until, hex.EncodeToString(mac.Sum(nil)))
}

func (g *guard) isValid(token string) bool {
	text, _, _ := strings.Cut(token, ".")
	until, err := strconv.ParseInt(text, 10, 64)
	return err == nil && time.Now().Unix() < until && hmac.Equal([]byte(token), []byte(g.sign(until)))
}
