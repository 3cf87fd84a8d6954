package house

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// direct is what the engine, its tool and their tests stand on. Database drivers, clients and other engines belong to
// the modules of those who test with them.
var direct = []string{
	"github.com/cespare/xxhash/v2", "github.com/cockroachdb/pebble/v2", "github.com/klauspost/compress",
	"github.com/schollz/progressbar/v3", "github.com/spf13/cobra", "github.com/stretchr/testify", "go.uber.org/goleak",
	"golang.org/x/sys", "golang.org/x/term", "pgregory.net/rapid",
}

// TestModules keeps the engine's go.mod small.
func TestModules(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(b, -1) {
		got = append(got, string(m[1]))
	}
	slices.Sort(got)
	require.Equal(t, direct, got)
}
