package kubelet

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"quayctl.test/cluster/bed/nodes"
)

func nodeAt(now time.Time, down bool) *corev1.Node {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{}}}
	if down {
		node.Annotations[nodes.DownAnnotation] = "true"
	}
	node.Status.Conditions = nodes.Conditions(node, now)
	return node
}

func TestAHeartbeatIsDueByAgeAndAtOnceWhereTheNodeIsNotAsItShouldBe(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	interval := statusEvery + spread("a", statusSpread)
	withReady := func(status corev1.ConditionStatus, down bool) *corev1.Node {
		node := nodeAt(now, down)
		readiness(node).Status = status
		return node
	}
	bare := nodeAt(now, false)
	bare.Status.Conditions = nil
	for _, test := range []struct {
		name    string
		node    *corev1.Node
		at      time.Time
		writes  int
		changes bool
		again   time.Duration
	}{
		{"a node that has no conditions", bare, now, 5, true, 0},
		{"one that is well and has said so", nodeAt(now, false), now.Add(time.Second), 0, false, interval - time.Second},
		{"one that has said so long ago", nodeAt(now, false), now.Add(interval), 5, false, 0},
		{"one that a controller has given up", withReady(corev1.ConditionUnknown, false), now, 5, true, 0},
		{"one that goes down", withReady(corev1.ConditionTrue, true), now, 1, true, 0},
		{"one that is down and has said so", nodeAt(now, true), now.Add(time.Hour), 0, false, 0},
		{"one that comes back", withReady(corev1.ConditionFalse, false), now, 5, true, 0},
	} {
		patch, again := statusDue(test.node, test.at)
		var conditions []corev1.NodeCondition
		if patch != nil {
			conditions = patch.Conditions
		}
		if len(conditions) != test.writes || again != test.again {
			t.Errorf("%s: writes %d conditions and comes again after %v, want %d and %v",
				test.name, len(conditions), again, test.writes, test.again)
		}
		for _, condition := range conditions {
			if changes := !condition.LastTransitionTime.IsZero(); changes != test.changes {
				t.Errorf("%s: says that %s has changed: %t", test.name, condition.Type, changes)
			}
		}
	}
}

func TestAHeartbeatTakesNoTimeOfTransitionAway(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	beats, _ := statusDue(nodeAt(now, false), now.Add(time.Hour))
	patch, err := statusPatch(beats.Conditions)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(patch), "null") || strings.Contains(string(patch), "lastTransitionTime") {
		t.Errorf("the patch changes more than the heartbeat: %s", patch)
	}
	var read corev1.Node
	if err := json.Unmarshal(patch, &read); err != nil || readiness(&read).LastHeartbeatTime.Unix() != now.Add(time.Hour).Unix() {
		t.Errorf("the patch does not hold the heartbeat: %v: %s", err, patch)
	}
}

func TestBeatsAreSpreadAndStaySo(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, name := range []string{"node-001", "node-002", "node-003", "node-004"} {
		at := spread(name, statusSpread)
		if at < 0 || at >= statusSpread || at != spread(name, statusSpread) {
			t.Errorf("%s beats at %v", name, at)
		}
		seen[at] = true
	}
	if len(seen) != 4 {
		t.Errorf("nodes beat together: %v", seen)
	}
}
