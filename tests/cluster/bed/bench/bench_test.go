package bench

import (
	"context"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// echo answers each connection with what it was sent, twice.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				text, _ := io.ReadAll(connection)
				_, _ = connection.Write(append(text, text...))
			}()
		}
	}()
	return listener.Addr().String()
}

func send(t *testing.T, address, text string) string {
	t.Helper()
	connection, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = connection.(*net.TCPConn).CloseWrite()
	answer, err := io.ReadAll(connection)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestTheForwarderCountsForEachContestant(t *testing.T) {
	f, err := newForwarder(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	began := time.Now()
	first := f.meter()
	if got := send(t, f.address(), "hello"); got != "hellohello" {
		t.Fatalf("the answer is %q", got)
	}
	first.drained(time.Second)
	second := f.meter()
	send(t, f.address(), strings.Repeat("x", 300_000))
	second.drained(time.Second)
	for _, test := range []struct {
		m              *meter
		sent, received int64
	}{{first, 5, 10}, {second, 300_000, 600_000}, {&meter{}, 0, 0}} {
		if sent, received := test.m.sent.Load(), test.m.received.Load(); sent != test.sent || received != test.received {
			t.Errorf("sent %d, received %d; want %d and %d", sent, received, test.sent, test.received)
		}
	}
	if after := first.firstAfter(began); after <= 0 || after > 10*time.Second {
		t.Errorf("first byte after %v", after)
	}
	if after := (&meter{}).firstAfter(began); after != 0 {
		t.Errorf("first byte after %v, but there was none", after)
	}
}

func TestMeasureSeesAProcess(t *testing.T) {
	// 64 MiB in a variable of the shell: more than the test itself uses, so
	// that both ways of reading the peak have something to say.
	const script = `x=$(head -c 67108864 /dev/zero | tr '\0' x); sleep 0.1; exit 3`
	u, err := measure(context.Background(), exec.Command("sh", "-c", script), &meter{})
	if err != nil {
		t.Fatal(err)
	}
	if u.code != 3 || u.peak < 64<<20 || u.cpu <= 0 || u.wall < 100*time.Millisecond || len(u.growth) == 0 {
		t.Errorf("got %+v", u)
	}
	small, err := measure(context.Background(), exec.Command("sleep", "0.1"), &meter{})
	if err != nil {
		t.Fatal(err)
	}
	// The kernel's own figure would be that of this test: see finish.
	if small.peak == 0 || small.peak > 8<<20 {
		t.Errorf("sleep took %d bytes", small.peak)
	}
}

func TestMeasureEndsWhatTakesTooLong(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	u, err := measure(ctx, exec.Command("sleep", "60"), &meter{})
	if err != nil || u.wall > 30*time.Second || u.code == 0 {
		t.Errorf("got %+v, %v", u, err)
	}
}

func TestTwoProcessesMakeOneContestant(t *testing.T) {
	began := time.Now()
	first := usage{began: began, wall: 2 * time.Second, cpu: time.Second, peak: 5}
	next := usage{began: began.Add(3 * time.Second), wall: time.Second, cpu: time.Second, peak: 3, code: 1}
	if sum := first.plus(next); sum.wall != 4*time.Second || sum.cpu != 2*time.Second || sum.peak != 5 || sum.code != 1 {
		t.Errorf("got %+v", sum)
	}
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   string
	}{
		{nil, "-"},
		{[]float64{3}, "3"},
		{[]float64{3, 1, 2}, "2 (1–3)"},
		{[]float64{4, 1, 2, 3}, "2.50 (1–4)"},
		{[]float64{58.123, 57.94, 161.2}, "58.1 (57.9–161)"},
	} {
		if got := spreadOf(test.values).String(); got != test.want {
			t.Errorf("%v: %q, want %q", test.values, got, test.want)
		}
	}
}

func TestContestantsTakeTurnsInBeingFirst(t *testing.T) {
	for round, want := range map[int]string{1: "ours kubectl", 2: "kubectl ours", 3: "ours kubectl"} {
		var names []string
		for _, c := range orderOf(round, "") {
			names = append(names, c.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
	}
	if only := orderOf(2, Ours); len(only) != 1 || only[0].name != Ours {
		t.Errorf("got %+v", only)
	}
}

func TestTheTableFitsATerminalAndSaysWhichBarsAreMissed(t *testing.T) {
	setting := &Setting{Mode: "stock", Nodes: 200, Images: 3}
	for round := 1; round <= 3; round++ {
		setting.Runs = append(setting.Runs,
			Run{Contestant: Ours, Round: round, WallSeconds: 158.1 + float64(round), Requests: 218 + round, Posts: 200,
				PeakBytes: 33 << 20, FirstSeconds: 0.02, Complete: 200, ReceivedBytes: 12_345_678},
			Run{Contestant: Kubectl, Round: round, WallSeconds: 160.5, Requests: 410, Posts: 200,
				PeakBytes: 111 << 20, Complete: 199, ExitCode: 1})
	}
	var text strings.Builder
	(&Result{Settings: []*Setting{setting}, Command: "make bench"}).Print(&text)
	for line := range strings.Lines(text.String()) {
		if utf8.RuneCountInString(line) > 81 {
			t.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
	for _, want := range []string{"1.00 ≤ 1.10: kept", "≤ 244: kept", "≤ 32: MISSED", "≤ 500: kept",
		"round 3, kubectl: 199 Jobs complete, exit code 1", "20 (19–21)"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
}
