package segment

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Ext and IndexExt end the names of segments and of their indexes, NewExt of what is being made.
const (
	Ext      = ".seg"
	IndexExt = ".idx"
	NewExt   = ".new"
)

// Name identifies a segment within its log: the position of its first record, and a generation that
// rises whenever a file is made anew for the same position.
type Name struct {
	Position   uint64
	Generation uint32
}

// String returns the base name of the segment's file.
func (n Name) String() string { return n.base() + Ext }

// Index returns the base name of the segment's index.
func (n Name) Index() string { return n.base() + IndexExt }

func (n Name) base() string { return fmt.Sprintf("%020d-%06d", n.Position, n.Generation) }

// Compare orders names by position, then by generation.
func (n Name) Compare(o Name) int {
	if c := cmp.Compare(n.Position, o.Position); c != 0 {
		return c
	}
	return cmp.Compare(n.Generation, o.Generation)
}

// ParseName parses the base name of a segment. It accepts only what Name.String returns.
func ParseName(base string) (Name, bool) {
	digits, ok := strings.CutSuffix(base, Ext)
	if !ok {
		return Name{}, false
	}
	p, g, ok := strings.Cut(digits, "-")
	if !ok {
		return Name{}, false
	}
	position, err := strconv.ParseUint(p, 10, 64)
	if err != nil {
		return Name{}, false
	}
	generation, err := strconv.ParseUint(g, 10, 32)
	if err != nil {
		return Name{}, false
	}
	n := Name{Position: position, Generation: uint32(generation)}
	return n, n.String() == base
}
