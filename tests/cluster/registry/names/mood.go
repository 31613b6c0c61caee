package names

import (
	"fmt"
	"maps"
	"strings"
)

// Set decides how one name is answered from now on, whether or not it is of the zone.
func (z *Zone) Set(name string, mood Mood) error {
	switch mood {
	case Address, Absent, Failing, Silent:
	default:
		return fmt.Errorf("answer is %q; use %s, %s, %s or %s", mood, Address, Absent, Failing, Silent)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return fmt.Errorf("name has %d characters; use 1 to 253", len(name))
	}
	z.mutex.Lock()
	defer z.mutex.Unlock()
	if _, ok := z.moods[name]; !ok && len(z.moods) >= maxMoods {
		return fmt.Errorf("%d names are set already; clear one", len(z.moods))
	}
	z.moods[name] = mood
	return nil
}

// Clear lets a name be answered as any other.
func (z *Zone) Clear(name string) {
	z.mutex.Lock()
	defer z.mutex.Unlock()
	delete(z.moods, strings.ToLower(strings.TrimSuffix(name, ".")))
}

// Moods are the names that were set.
func (z *Zone) Moods() map[string]Mood {
	z.mutex.Lock()
	defer z.mutex.Unlock()
	return maps.Clone(z.moods)
}
