package names

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// serving answers for the zone test, and resolves by asking it over one protocol.
func serving(t *testing.T, protocol string) (*Zone, *net.Resolver) {
	t.Helper()
	zone := NewZone("test", netip.MustParseAddr("198.18.7.3"))
	server, err := Listen(zone, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return zone, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, protocol, server.Address())
	}}
}

func TestNamesOfTheZoneAreTheAddress(t *testing.T) {
	for _, protocol := range []string{"udp", "tcp"} {
		_, resolver := serving(t, protocol)
		for _, name := range []string{"plain.test.", "PLAIN.Test.", "a.b.test."} {
			got, err := resolver.LookupHost(t.Context(), name)
			if err != nil || !slices.Equal(got, []string{"198.18.7.3"}) {
				t.Errorf("%s by %s is %v, %v", name, protocol, got, err)
			}
		}
	}
}

func TestOtherNamesDoNotExist(t *testing.T) {
	for _, protocol := range []string{"udp", "tcp"} {
		_, resolver := serving(t, protocol)
		for _, name := range []string{"quay.io.", "plain.testing.", "plaintest."} {
			_, err := resolver.LookupHost(t.Context(), name)
			var failed *net.DNSError
			if !errors.As(err, &failed) || !failed.IsNotFound || !strings.Contains(err.Error(), "no such host") {
				t.Errorf("%s by %s: %v", name, protocol, err)
			}
		}
	}
}

func TestNamesAreAnsweredAsSet(t *testing.T) {
	zone, resolver := serving(t, "udp")
	lookup := func(name string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := resolver.LookupHost(ctx, name)
		return err
	}
	for answer, words := range map[Answer]string{NXDomain: "no such host", ServFail: "server misbehaving", Timeout: "i/o timeout"} {
		if err := zone.Set("Odd.test.", answer); err != nil {
			t.Fatal(err)
		}
		if err := lookup("odd.test."); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	if err := lookup("even.test."); err != nil {
		t.Error(err)
	}
	zone.Clear("odd.test")
	if err := lookup("odd.test."); err != nil {
		t.Error(err)
	}
	if err := zone.Set("quay.io", Address); err != nil {
		t.Fatal(err)
	}
	if err := lookup("quay.io."); err != nil {
		t.Error(err)
	}
	if err := zone.Set("odd.test", "loud"); err == nil {
		t.Error("an answer that there is none of was taken")
	}
}

// A resolver that asks for both kinds takes an error of one as an error of all.
func TestOtherTypesAreEmptyAndNoError(t *testing.T) {
	zone := NewZone("test", netip.MustParseAddr("198.18.7.3"))
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeMX, dnsmessage.TypeTXT} {
		query := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("plain.test."), Type: kind, Class: dnsmessage.ClassINET}},
		}
		packed, err := query.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(zone.answer(packed)); err != nil {
			t.Fatal(err)
		}
		if reply.ID != 7 || reply.RCode != dnsmessage.RCodeSuccess || !reply.Response || len(reply.Answers) != 0 {
			t.Errorf("%s: %+v", kind, reply)
		}
	}
}

func TestWhatIsNoQueryIsNotAnswered(t *testing.T) {
	zone := NewZone("test", netip.MustParseAddr("198.18.7.3"))
	response := dnsmessage.Message{Header: dnsmessage.Header{Response: true}}
	packed, err := response.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, query := range [][]byte{nil, {1, 2, 3}, packed} {
		if reply := zone.answer(query); reply != nil {
			t.Errorf("%v was answered %v", query, reply)
		}
	}
}
