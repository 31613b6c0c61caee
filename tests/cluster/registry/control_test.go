package main

import (
	"net/http"
	"strings"
	"testing"

	"quayctl.test/registry/link"
)

func TestControlAPITakesNothingItDoesNotKnow(t *testing.T) {
	s := serving(t)
	for _, wrong := range []struct{ body, words string }{
		{`{"name":"plain","colour":"red"}`, `unknown field "colour"`},
		{`{"name":"plain"} {}`, "something follows the JSON"},
		{`{"name":7}`, "cannot unmarshal number"},
		{`{`, "unexpected EOF"},
		{`{"name":"` + strings.Repeat("a", 3<<20) + `"}`, "too large"},
	} {
		request, err := http.NewRequest(http.MethodPost, s.control+"/faces", strings.NewReader(wrong.body))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Error string }
		getJSON(t, request, http.StatusBadRequest, &answer)
		wantWords(t, answer.Error, wrong.words)
	}
}

func TestLinkIsRead(t *testing.T) {
	s := serving(t)
	if state := run[link.State](s, "link"); state.Interface != "lo" || state.RateBits != 0 || state.TxBytes == 0 {
		t.Errorf("link is %+v", state)
	}
}

func TestCommandsThatCannotBeAreRefused(t *testing.T) {
	s := serving(t)
	for args, words := range map[string]string{
		"sing":                "unknown command",
		"link --rate 1 --off": "use one",
		"link --rate 7":       "rate_bits is 7",
		"name set x.test":     `answer is ""`,
	} {
		wantWords(t, s.fails(strings.Fields(args)...), words)
	}
	s.control = "127.0.0.1:5000"
	wantWords(t, s.fails("face", "list"), "use a URL such as")
}
