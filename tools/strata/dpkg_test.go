package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPackageLog takes the package log of a Debian machine through append, read, dump and verify: the one
// that is checked in, and that of this machine where there is one.
func TestPackageLog(t *testing.T) {
	tested := 0
	for name, file := range map[string]string{
		"sample": "../../examples/quickstart/testdata/dpkg.log", "this machine's": "/var/log/dpkg.log",
	} {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) && name != "sample" {
			continue
		}
		require.NoError(t, err)
		tested++
		t.Run(name, func(t *testing.T) {
			t.Run("one partition", func(t *testing.T) { onePartition(t, file, text) })
			t.Run("8 partitions", func(t *testing.T) { eightPartitions(t, file, text) })
		})
	}
	require.NotZero(t, tested)
}

func onePartition(t *testing.T, file string, text []byte) {
	dir := t.TempDir()
	do(t, "", "append", dir, "dpkg", "--create", "--key-column", "4", file)
	require.True(t, do(t, "", "read", dir, "dpkg") == string(text), "byte for byte, in order")
	checkWhole(t, dir, text)
}

func eightPartitions(t *testing.T, file string, text []byte) {
	dir := t.TempDir()
	do(t, "", "create", dir, "dpkg", "--partitions", "8")
	do(t, "", "append", dir, "dpkg", "--key-column", "4", file)
	var next [8]float64
	keys := map[any][]string{}
	partitionOf := map[any]any{}
	for _, o := range objects(t, do(t, "", "read", dir, "dpkg", "--output", "json")) {
		p := int(o["partition"].(float64))
		require.Equal(t, next[p], o["offset"], "offsets are dense")
		next[p]++
		key := o["key"]
		keys[key] = append(keys[key], o["value"].(string))
		if key != nil {
			if partitionOf[key] == nil {
				partitionOf[key] = p
			}
			require.Equal(t, partitionOf[key], p)
		}
	}
	used := 0
	for _, n := range next {
		if n > 0 {
			used++
		}
	}
	require.Equal(t, 8, used)
	want := map[any][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		var key any
		if columns := strings.Fields(line); len(columns) >= 4 {
			key = columns[3]
		}
		want[key] = append(want[key], line)
	}
	// Those without a key go to one partition a commit, and have no order among commits.
	require.ElementsMatch(t, want[nil], keys[nil])
	delete(want, nil)
	delete(keys, nil)
	require.Equal(t, want, keys, "lines of a key stay in order")
	checkWhole(t, dir, text)
}

// checkWhole checks that dump counts every line and that verify is content.
func checkWhole(t *testing.T, dir string, text []byte) {
	t.Helper()
	lines := bytes.Count(text, []byte("\n"))
	total := ofKind(t, do(t, "", "dump", dir, "--json"), "total")[0]
	require.EqualValues(t, lines, total["records"].(float64)-total["system_records"].(float64))
	require.Zero(t, total["damaged"])
	require.Len(t, ofKind(t, do(t, "", "dump", dir, "--records", "--json"), "record"), int(total["records"].(float64)))
	require.Contains(t, do(t, "", "verify", dir), "clean: ")
}
