package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerifyAndRepair damages one batch, and takes the log through verify, the refusal to append, repair
// and reading again.
func TestVerifyAndRepair(t *testing.T) {
	dir := t.TempDir()
	var want []string
	var input strings.Builder
	for i := range 30 {
		fmt.Fprintf(&input, "line %d\n", i)
		if i < 10 || i >= 20 {
			want = append(want, fmt.Sprintf("line %d", i))
		}
	}
	do(t, input.String(), "append", dir, "t", "--create", "--batch", "10")
	require.Contains(t, do(t, "", "verify", dir), "clean: 1 segments")
	clean := objects(t, do(t, "", "verify", dir, "--json"))
	require.Equal(t, "total", clean[len(clean)-1]["kind"])
	require.Equal(t, true, clean[len(clean)-1]["clean"])
	require.Equal(t, "nothing to repair\n", do(t, "", "repair", dir))

	batch := ofKind(t, do(t, "", "dump", dir, "--json"), "batch")[2]
	file := segmentFile(t, dir, 0)
	flip(t, file, int64(batch["byte"].(float64))+70)

	r := try(t, "", "verify", dir)
	require.Equal(t, exitBad, r.status, r.errors)
	require.Contains(t, r.out, "damage: "+filepath.Base(file)+" at byte ")
	require.Contains(t, r.out, "damaged (1 findings)")
	r = try(t, "", "verify", dir, "--json")
	require.Equal(t, exitBad, r.status)
	finding := ofKind(t, r.out, "finding")
	require.Len(t, finding, 1)
	require.Equal(t, filepath.Base(file), finding[0]["file"])
	require.Equal(t, batch["position"], finding[0]["from_position"])
	require.Equal(t, batch["position"].(float64)+10, finding[0]["to_position"])

	r = try(t, "x\n", "append", dir, "t")
	require.Equal(t, exitNotDone, r.status)
	require.Contains(t, r.errors, filepath.Base(file)+": corrupt at byte")

	before, err := os.ReadFile(file)
	require.NoError(t, err)
	r = try(t, "", "repair", dir, "--dry-run")
	require.Equal(t, exitBad, r.status, r.errors)
	require.Contains(t, r.out, "nothing was changed")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.Contains(t, do(t, "", "repair", dir), "repaired\n")
	require.Contains(t, do(t, "", "verify", dir), "clean: ")
	moved, err := os.ReadFile(filepath.Join(dir, "damaged", filepath.Base(file)))
	require.NoError(t, err)
	require.Equal(t, before, moved)

	r = try(t, "", "read", dir, "t")
	require.Equal(t, exitBad, r.status)
	require.Contains(t, r.errors, "offsets 10 to 19 of t/0 are lost")
	require.Equal(t, want, strings.Split(strings.TrimSpace(r.out), "\n"))
	require.Equal(t, "0 30\n", do(t, "line 30\n", "append", dir, "t", "--print-acks"))
	require.Contains(t, do(t, "", "verify", dir), "clean: ")
}

// TestVerifyTornTail cuts a log in the middle of its last frame: nobody was promised that.
func TestVerifyTornTail(t *testing.T) {
	dir := t.TempDir()
	do(t, "a\n", "append", dir, "t", "--create")
	do(t, "b\n", "append", dir, "t")
	file := segmentFile(t, dir, 0)
	batches := ofKind(t, do(t, "", "dump", dir, "--json"), "batch")
	last := int64(batches[len(batches)-1]["byte"].(float64))
	require.NoError(t, os.Truncate(file, last+20))
	out := do(t, "", "verify", dir)
	require.Contains(t, out, "note: ")
	require.Contains(t, out, "clean: ")
	segment := ofKind(t, do(t, "", "dump", dir, "--json"), "segment")[0]
	require.Positive(t, segment["torn_bytes"])
	require.Equal(t, "a\n", do(t, "", "read", dir, "t"))
	require.Equal(t, "0 1\n", do(t, "c\n", "append", dir, "t", "--print-acks"))
	require.Equal(t, "a\nc\n", do(t, "", "read", dir, "t"))
}
