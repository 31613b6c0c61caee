package control

import (
	"fmt"
	"net/http"
	"strconv"

	"quayctl.test/registry/counts"
	"quayctl.test/registry/face"
	"quayctl.test/registry/fault"
)

// Removed tells what is gone.
type Removed struct {
	Removed string `json:"removed"`
}

// Cleared tells how many rules were taken out of force.
type Cleared struct {
	Cleared int `json:"cleared"`
}

func (a *API) listFaces(*http.Request) (any, error) {
	states := []face.State{}
	for _, f := range a.Faces.All() {
		states = append(states, f.State())
	}
	return states, nil
}

func (a *API) addFace(r *http.Request) (any, error) {
	var options face.Options
	if err := read(r, &options); err != nil {
		return nil, err
	}
	return a.Faces.Add(options)
}

func (a *API) removeFace(r *http.Request) (any, error) {
	name := r.PathValue("face")
	return Removed{name}, a.Faces.Remove(name)
}

func (a *API) stopFace(r *http.Request) (any, error) { return a.switchFace(r, (*face.Face).Stop) }

func (a *API) startFace(r *http.Request) (any, error) { return a.switchFace(r, (*face.Face).Start) }

func (a *API) switchFace(r *http.Request, change func(*face.Face) error) (any, error) {
	found, err := a.Faces.Get(r.PathValue("face"))
	if err != nil {
		return nil, err
	}
	if err := change(found); err != nil {
		return nil, err
	}
	return found.State(), nil
}

func (a *API) listFaults(r *http.Request) (any, error) {
	found, err := a.Faces.Get(r.PathValue("face"))
	if err != nil {
		return nil, err
	}
	return found.Faults.List(), nil
}

func (a *API) addFault(r *http.Request) (any, error) {
	found, err := a.Faces.Get(r.PathValue("face"))
	if err != nil {
		return nil, err
	}
	var rule fault.Rule
	if err := read(r, &rule); err != nil {
		return nil, err
	}
	return found.Faults.Add(rule)
}

func (a *API) clearFaults(r *http.Request) (any, error) {
	found, err := a.Faces.Get(r.PathValue("face"))
	if err != nil {
		return nil, err
	}
	id := 0
	if text := r.PathValue("id"); text != "" {
		if id, err = strconv.Atoi(text); err != nil || id < 1 {
			return nil, fmt.Errorf("%q is no rule's number", text)
		}
	}
	cleared := found.Faults.Clear(id)
	if id != 0 && cleared == 0 {
		return nil, fmt.Errorf("no rule %d at this face", id)
	}
	return Cleared{cleared}, nil
}

// readCounts answers for all faces or the one in ?face=; DELETE sets them to
// zero in the same moment.
func (a *API) readCounts(r *http.Request) (any, error) {
	all := a.Faces.All()
	if name := r.URL.Query().Get("face"); name != "" {
		found, err := a.Faces.Get(name)
		if err != nil {
			return nil, err
		}
		all = []*face.Face{found}
	}
	answer := map[string]counts.Counts{}
	for _, f := range all {
		answer[f.State().Name] = f.Counts.Read(r.Method == http.MethodDelete)
	}
	return answer, nil
}
