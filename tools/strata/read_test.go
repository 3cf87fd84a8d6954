package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestReadFlags checks which records are printed of a topic with two partitions of five.
func TestReadFlags(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "create", dir, "t", "--partitions", "2")
	var input strings.Builder
	for _, minute := range []string{"00", "01", "02", "03", "04"} {
		input.WriteString(`{"key":"k` + minute + `","value":"v` + minute + `","timestamp":"2026-01-01T00:` + minute + `:00Z"}` + "\n")
	}
	do(t, input.String(), "append", dir, "t", "--json", "--partition", "0")
	do(t, strings.ReplaceAll(input.String(), `"v0`, `"w0`), "append", dir, "t", "--json", "--partition", "1")

	for _, tc := range []struct{ flags, want string }{
		{"", "v00 v01 v02 v03 v04 w00 w01 w02 w03 w04"},
		{"--from oldest --count 3", "v00 v01 v02"},
		{"--count 0", ""},
		{"--from newest", ""},
		{"--partition 1", "w00 w01 w02 w03 w04"},
		{"--partition 1 --from 3", "w03 w04"},
		{"--from 4", "v04 w04"},
		{"--from 5", ""},
		{"--from 99", ""},
		{"--from 2026-01-01T00:03:00Z", "v03 v04 w03 w04"},
		{"--from 2026-01-01T01:02:30+01:00 --partition 0", "v03 v04"},
		{"--from 2027-01-01T00:00:00Z", ""},
		{"--key k02", "v02 w02"},
		{"--key k02 --count 1", "v02"},
		{"--key none", ""},
		{"--unsynced --partition 1 --count 1", "w00"},
	} {
		t.Run(tc.flags, func(t *testing.T) {
			out := do(t, "", append([]string{"read", dir, "t"}, strings.Fields(tc.flags)...)...)
			require.Equal(t, tc.want, strings.Join(strings.Fields(out), " "))
		})
	}
}

// TestReadKeys checks that an empty key is not a missing one.
func TestReadKeys(t *testing.T) {
	dir := t.TempDir()
	do(t, "no key\n:empty key\n", "append", dir, "t", "--create", "--key-delim", ":")
	require.Equal(t, "empty key\n", do(t, "", "read", dir, "t", "--key", ""))
}

// TestReadDamage damages one record after the other in a log of several segments: all others are printed,
// in order, the gap is named, and the status tells.
func TestReadDamage(t *testing.T) {
	dir := t.TempDir()
	small := func(o *log.Options) { o.SegmentBytes, o.MaxCommitBytes, o.MaxRecordBytes = 64<<10, 32<<10, 0 }
	var lines []string
	l, err := log.Open(dir, withOptions(small))
	require.NoError(t, err)
	topic, err := l.CreateTopic(t.Context(), "t", log.TopicOptions{})
	require.NoError(t, err)
	for i := range 40 {
		line := strings.Repeat(string(rune('a'+i%26)), 4000)
		lines = append(lines, line)
		_, err := topic.Append(t.Context(), log.Record{Value: []byte(line)})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	segments := ofKind(t, do(t, "", "dump", dir, "--json"), "segment")
	require.Greater(t, len(segments), 2)

	for _, b := range ofKind(t, do(t, "", "dump", dir, "--json"), "batch") {
		if b["topic"] != "t" {
			continue
		}
		file := dir + "/log/" + b["file"].(string)
		at := int64(b["byte"].(float64)) + 1000
		flip(t, file, at)
		r := try(t, "", "read", dir, "t")
		require.Equal(t, exitBad, r.status, "%v: %s", b["offset"], r.errors)
		require.Contains(t, r.errors, b["file"])
		i := int(b["offset"].(float64))
		want := append(append([]string{}, lines[:i]...), lines[i+1:]...)
		require.Equal(t, want, strings.Fields(r.out), "offset %d", i)

		damage := ofKind(t, try(t, "", "dump", dir, "--json").out, "damage")
		require.Len(t, damage, 1)
		require.Equal(t, b["file"], damage[0]["file"])
		require.Equal(t, b["position"], damage[0]["position"])
		require.Less(t, damage[0]["byte"], b["byte"])
		flip(t, file, at)
	}
	require.Equal(t, lines, strings.Fields(do(t, "", "read", dir, "t")))
}

func withOptions(change func(*log.Options)) log.Options {
	var o log.Options
	change(&o)
	return o
}
