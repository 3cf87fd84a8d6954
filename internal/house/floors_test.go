package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/stratalog/strata"

// floors are the packages from the ground up: each may import those before it. What stands below
// internal may be imported by all, and imports nothing but its like.
var floors = []string{
	"record", "index", "segment", "log", "timer", "consumer", "queue", "pubsub", "aggregate", "projection", "saga",
	"tools", "examples", "fuzz", "bench",
}

// apart may not import each other, although one stands before the other.
var apart = []string{"consumer", "queue", "pubsub", "aggregate"}

// TestFloors fails when a package imports one that does not stand below it. Tests may import
// anything.
func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...").Output()
	require.NoError(t, err)
	seen := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		seen++
		for _, imported := range p.Imports {
			if why := forbidden(p.ImportPath, imported); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
	require.Greater(t, seen, 5)
}

// TestFloorsForbid shows that the check can fail.
func TestFloorsForbid(t *testing.T) {
	for _, tc := range []struct{ from, to, why string }{
		{"segment", "log", "is not below"},
		{"log", "fuzz/crashfs", "is not below"},
		{"queue", "consumer", "stand apart"},
		{"internal/clock", "log", "is not below"},
		{"stranger", "log", "has no floor"},
		{"log", "segment", ""},
		{"log", "internal/clock", ""},
		{"fuzz/harness", "fuzz/crashfs", ""},
	} {
		got := forbidden(module+"/"+tc.from, module+"/"+tc.to)
		if tc.why == "" {
			require.Empty(t, got)
		} else {
			require.Contains(t, got, tc.why, "%s -> %s", tc.from, tc.to)
		}
	}
}

// forbidden says why a package may not import another, or "".
func forbidden(from, to string) string {
	from, mine := strings.CutPrefix(from, module+"/")
	to, ours := strings.CutPrefix(to, module+"/")
	if !mine || !ours {
		return ""
	}
	from, _, _ = strings.Cut(from, "/")
	to, _, _ = strings.Cut(to, "/")
	if to == "internal" || from == to {
		return ""
	}
	if from == "internal" {
		return to + " is not below internal"
	}
	f, g := slices.Index(floors, from), slices.Index(floors, to)
	switch {
	case f < 0:
		return from + " has no floor"
	case g < 0:
		return to + " has no floor"
	case g > f:
		return to + " is not below " + from
	case slices.Contains(apart, from) && slices.Contains(apart, to):
		return from + " and " + to + " stand apart"
	}
	return ""
}
