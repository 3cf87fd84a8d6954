package main

import (
	"errors"
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

func TestJudge(t *testing.T) {
	bad := errors.New("exit status 1")
	for _, c := range []struct {
		out     string
		failed  error
		hung    bool
		verdict string
	}{
		{"PASS\n", nil, false, "LIVES"},
		{"--- FAIL: TestA (0.00s)\nFAIL\n", bad, false, "killed"},
		{"panic: test timed out after 4m0s\n", bad, false, "killed"},
		{"fatal error: all goroutines are asleep - deadlock!\n", bad, false, "killed"},
		{"", bad, true, "killed"},
		{"testing: warning: no tests to run\nPASS\n", nil, false, ""},
		{"cannot execute\n", bad, false, ""},
	} {
		verdict, err := judge(c.out, c.failed, c.hung)
		require.Equal(t, c.verdict, verdict, c.out)
		require.Equal(t, c.verdict == "", err != nil, c.out)
	}
}
