package fault

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func add(t *testing.T, set *Set, rule Rule) Rule {
	t.Helper()
	added, err := set.Add(rule)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func TestRulesOfOneRequestAreCombined(t *testing.T) {
	var set Set
	add(t, &set, Rule{Effect: Delay, DelayMilliseconds: 10})
	add(t, &set, Rule{Effect: Throttle, BytesPerSecond: 1000})
	add(t, &set, Rule{Effect: Status, Status: 503, Times: 1})
	add(t, &set, Rule{Effect: Throttle, BytesPerSecond: 500, Per: PerFace})
	add(t, &set, Rule{Effect: Delay, DelayMilliseconds: 20})
	add(t, &set, Rule{Effect: Hang})
	get := httptest.NewRequest(http.MethodGet, "/v2/", nil)

	first, second := set.take(get), set.take(get)
	if first.delay != 30*time.Millisecond || len(first.throttles) != 2 || first.end.Status != 503 {
		t.Errorf("first: %+v", first)
	}
	if second.end.Effect != Hang || second.throttles[1] != first.throttles[1] || second.throttles[0] == first.throttles[0] {
		t.Errorf("second: %+v", second)
	}
	head := set.take(httptest.NewRequest(http.MethodHead, "/v2/", nil))
	if len(head.throttles) != 0 || head.delay != 30*time.Millisecond {
		t.Errorf("without a body: %+v", head)
	}
	for at, used := range []int64{3, 2, 1, 2, 3, 2} {
		if rule := set.List()[at]; rule.Used != used || rule.ID != at+1 {
			t.Errorf("rule %+v was used %d times", rule, used)
		}
	}
}

func TestRulesAreBounded(t *testing.T) {
	var set Set
	for range maxRules {
		add(t, &set, Rule{Effect: Hang})
	}
	if _, err := set.Add(Rule{Effect: Hang}); err == nil {
		t.Error("one more was taken")
	}
	if cleared := set.Clear(0); cleared != maxRules {
		t.Errorf("%d were cleared", cleared)
	}
	// Numbers are not given again.
	if rule := add(t, &set, Rule{Effect: Hang}); rule.ID != maxRules+1 {
		t.Errorf("added %+v", rule)
	}
}
