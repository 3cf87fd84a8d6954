package segment

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Listing is what a log directory holds, by the names of its files alone.
type Listing struct {
	Segments []Name   // sorted
	Indexes  []string // base names ending in IndexExt
	New      []string // base names ending in NewExt
	Manifest bool
	Unknown  []string
}

// List lists dir.
func List(fsys vfs.FS, dir string) (Listing, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return Listing{}, fmt.Errorf("segment: list: %w", err)
	}
	var l Listing
	for _, base := range names {
		switch name, ok := ParseName(base); {
		case ok:
			l.Segments = append(l.Segments, name)
		case base == ManifestName:
			l.Manifest = true
		case strings.HasSuffix(base, NewExt):
			l.New = append(l.New, base)
		case strings.HasSuffix(base, IndexExt):
			l.Indexes = append(l.Indexes, base)
		default:
			l.Unknown = append(l.Unknown, base)
		}
	}
	slices.SortFunc(l.Segments, Name.Compare)
	return l, nil
}

// NextGeneration returns a generation for a segment at position that is above all in names and m.
func NextGeneration(names []Name, m *Manifest, position uint64) uint32 {
	next := uint32(0)
	for _, n := range names {
		if n.Position == position {
			next = max(next, n.Generation+1)
		}
	}
	if m != nil {
		for _, r := range m.Segments {
			if r.Name.Position == position {
				next = max(next, r.Name.Generation+1)
			}
		}
	}
	return next
}
