package fault

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxRules bounds what a request is held against.
const maxRules = 100

// Set is the rules of one face.
type Set struct {
	mutex sync.Mutex
	rules []*active
	last  int
}

// active is a rule in force.
type active struct {
	Rule
	path    *regexp.Regexp
	shared  *rate.Limiter // of a throttle per face
	cleared chan struct{} // closed when it no longer is in force
}

// Add puts a rule in force and returns it with its number.
func (s *Set) Add(rule Rule) (Rule, error) {
	path, err := rule.validate()
	if err != nil {
		return Rule{}, err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if len(s.rules) >= maxRules {
		return Rule{}, fmt.Errorf("the face has %d rules already; clear some", len(s.rules))
	}
	s.last++
	rule.ID, rule.Used = s.last, 0
	added := &active{Rule: rule, path: path, cleared: make(chan struct{})}
	if rule.Effect == Throttle && rule.Per == PerFace {
		added.shared = limiter(rule.BytesPerSecond)
	}
	s.rules = append(s.rules, added)
	return rule, nil
}

// List returns the rules with how often each was used.
func (s *Set) List() []Rule {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	rules := []Rule{}
	for _, rule := range s.rules {
		rules = append(rules, rule.Rule)
	}
	return rules
}

// Clear takes one rule out of force, or all for id 0, and returns how many those were.
func (s *Set) Clear(id int) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	before := len(s.rules)
	s.rules = slices.DeleteFunc(s.rules, func(rule *active) bool {
		if id != 0 && rule.ID != id {
			return false
		}
		close(rule.cleared)
		return true
	})
	return before - len(s.rules)
}

// plan is all that is to be done to one request.
type plan struct {
	delay     time.Duration
	throttles []*rate.Limiter
	end       *Rule           // the one rule that decides the answer
	cleared   <-chan struct{} // closed when that rule is cleared
}

// take plans a request and counts the rules it uses. Delays add up and the
// slowest throttle holds, but only the first rule of the others is used.
func (s *Set) take(r *http.Request) plan {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var todo plan
	for _, rule := range s.rules {
		if !rule.matches(r) {
			continue
		}
		switch {
		case rule.Effect == Delay:
			todo.delay += time.Duration(rule.DelayMilliseconds) * time.Millisecond
		case rule.shared != nil:
			todo.throttles = append(todo.throttles, rule.shared)
		case rule.Effect == Throttle:
			todo.throttles = append(todo.throttles, limiter(rule.BytesPerSecond))
		case todo.end == nil:
			decided := rule.Rule
			todo.end, todo.cleared = &decided, rule.cleared
		default:
			continue
		}
		rule.Used++
	}
	return todo
}

// limiter lets through a tenth of a second's bytes at once.
func limiter(bytesPerSecond int64) *rate.Limiter {
	burst := max(1, min(bytesPerSecond/10, maxBurstBytes))
	limit := rate.NewLimiter(rate.Limit(bytesPerSecond), int(burst))
	// It would begin with a burst for nothing.
	limit.AllowN(time.Now(), int(burst))
	return limit
}
