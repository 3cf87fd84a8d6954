package harness_test

import (
	"testing"

	"github.com/stratalog/strata/fuzz/harness"
)

// FuzzDirectory damages a whole directory in any combination of ways.
func FuzzDirectory(f *testing.F) {
	c := harness.MakeClosed(f, 1)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0})
	for what := range byte(8) {
		for file := range byte(8) {
			f.Add([]byte{what, file, 200, file * 31, 0, 0, file + 1, 7})
			f.Add([]byte{what, file, 200, 1, 0, 0, file + 1, 7, what + 1, file + 1, 90, 3, 0, 0, 1, 255})
		}
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if _, err := c.Script(script); err != nil {
			t.Error(err)
		}
	})
}
