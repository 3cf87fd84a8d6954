package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// goldenLog makes a small log with everything that is printed in a way of its own.
func goldenLog(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "golden")
	fixed := dateless()
	step := func(stdin string, args ...string) {
		r := tryApp(t, stdin, fixed, args...)
		require.Equal(t, exitDone, r.status, "%q: %s", args, r.errors)
	}
	step("", "create", dir, "orders", "--partitions", "2")
	step("a:one\nb:two\na:three\n", "append", dir, "orders", "--key-delim", ":")
	step(`{"key_base64":"/w==","value":"quote \" and \u0001","timestamp":"2020-02-02T02:02:02.020Z","headers":[{"key":"h","value":null},{"key":"h","value_base64":"/v8="}]}`+"\n"+
		`{"key":"","value":null}`+"\n", "append", dir, "orders", "--json", "--partition", "1")
	step(strings.Repeat("again and again\n", 20), "append", dir, "events", "--create", "--compress", "zstd")
	return dir
}

// TestGolden compares what commands print with files, which a reader can look at.
func TestGolden(t *testing.T) {
	dir := goldenLog(t)
	for name, args := range map[string][]string{
		"topics.txt":        {"topics", dir},
		"topics.json":       {"topics", dir, "--json"},
		"stats.txt":         {"stats", dir},
		"stats.json":        {"stats", dir, "--json"},
		"read.txt":          {"read", dir, "orders"},
		"read.json":         {"read", dir, "orders", "--output", "json"},
		"dump.txt":          {"dump", dir},
		"dump.json":         {"dump", dir, "--json"},
		"dump-records.txt":  {"dump", dir, "--records"},
		"dump-records.json": {"dump", filepath.Join(dir, "log", "00000000000000000000-000000.seg"), "--records", "--json"},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, do(t, "", args...)) })
	}
}

// TestGoldenDamage does the same with a log whose second batch of orders is damaged.
func TestGoldenDamage(t *testing.T) {
	dir := goldenLog(t)
	batches := ofKind(t, do(t, "", "dump", dir, "--json"), "batch")
	flip(t, segmentFile(t, dir, 0), int64(batches[2]["byte"].(float64))+60)
	for name, args := range map[string][]string{
		"damage-dump.txt":  {"dump", dir},
		"damage-dump.json": {"dump", dir, "--json"},
		"damage-read.json": {"read", dir, "orders", "--output", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			r := try(t, "", args...)
			require.Equal(t, exitBad, r.status, r.errors)
			golden(t, name, r.out)
			if args[0] == "read" {
				require.Contains(t, r.errors, "00000000000000000000-000000.seg: corrupt at byte")
			}
		})
	}
}
