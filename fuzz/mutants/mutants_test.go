package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMutantsApply keeps the list in step with the code: each mutation has exactly one place.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		require.False(t, names[m.name], m.name)
		names[m.name] = true
		source, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(m.file)))
		require.NoError(t, err)
		broken, err := m.apply(string(source))
		require.NoError(t, err, m.name)
		require.NotEqual(t, string(source), broken, m.name)
	}
	require.GreaterOrEqual(t, len(mutants), 25)
}

func TestChosen(t *testing.T) {
	require.Len(t, chosen(0, ""), len(mutants))
	require.Len(t, chosen(5, ""), 5)
	require.Len(t, chosen(0, "ack-before-sync"), 1)
	_, err := mutant{file: "x", old: "a"}.apply("a a")
	require.Error(t, err)
}
