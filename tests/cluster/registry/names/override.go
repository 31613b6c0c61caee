package names

import (
	"fmt"
	"maps"
	"strings"
)

// Set decides how one name is answered from now on, whether or not it is of the zone.
func (z *Zone) Set(name string, answer Answer) error {
	switch answer {
	case Address, NXDomain, ServFail, Timeout:
	default:
		return fmt.Errorf("answer is %q; use %s, %s, %s or %s", answer, Address, NXDomain, ServFail, Timeout)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || len(name) > 253 {
		return fmt.Errorf("name has %d characters; use 1 to 253", len(name))
	}
	z.mutex.Lock()
	defer z.mutex.Unlock()
	if _, ok := z.overrides[name]; !ok && len(z.overrides) >= maxOverrides {
		return fmt.Errorf("%d names are set already; clear one", len(z.overrides))
	}
	z.overrides[name] = answer
	return nil
}

// Clear brings a name back to the default.
func (z *Zone) Clear(name string) {
	z.mutex.Lock()
	defer z.mutex.Unlock()
	delete(z.overrides, strings.ToLower(strings.TrimSuffix(name, ".")))
}

// Overrides are the names that were set, with their answers.
func (z *Zone) Overrides() map[string]Answer {
	z.mutex.Lock()
	defer z.mutex.Unlock()
	return maps.Clone(z.overrides)
}
