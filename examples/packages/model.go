package main

import (
	"strings"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/projection"
)

// versions is the table of the read model: the version of each package that is installed, by name.
var versions = projection.NewTable[string]("versions")

// installed is the projection: a package is in the model when its last status is "installed". Its version is to
// be raised when that is changed; the model is then built anew.
func installed() *projection.Definition[*projection.Tx] {
	h := projection.NewHandlers[*projection.Tx](packageEvents)
	projection.On(h, func(tx *projection.Tx, e *projection.Event, v StatusChanged) error {
		name := strings.TrimPrefix(e.Stream, category+aggregate.Separator)
		if v.Status != "installed" {
			return versions.Delete(tx, name)
		}
		return versions.Put(tx, name, v.Version)
	})
	o := projection.Options{Topics: []string{topic}, Types: []string{statusChanged}}
	return projection.Define("installed", 1, o, h.Handle)
}
