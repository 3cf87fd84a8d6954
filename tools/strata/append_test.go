package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestAppendLines checks what is a record, and what its key.
func TestAppendLines(t *testing.T) {
	type kv struct{ key, value any }
	for _, tc := range []struct {
		name, input string
		flags       []string
		want        []kv
	}{
		{"no input", "", nil, nil},
		{"last line without a line feed", "a\nb", nil, []kv{{nil, "a"}, {nil, "b"}}},
		{"empty lines and carriage returns", "\n\r\n\nx\r\n", nil, []kv{{nil, ""}, {nil, "\r"}, {nil, ""}, {nil, "x\r"}}},
		{"column", "a b\tc  d\n  x y z w\na b\n", []string{"--key-column", "4"}, []kv{{"d", "a b\tc  d"}, {"w", "  x y z w"}, {nil, "a b"}}},
		{"first column, blanks behind", "key  \n \n", []string{"--key-column", "1"}, []kv{{"key", "key  "}, {nil, " "}}},
		{"delimiter", "k=>v=>w\nnone\n=>v\nk=>\n", []string{"--key-delim", "=>"}, []kv{{"k", "v=>w"}, {nil, "none"}, {"", "v"}, {"k", ""}}},
		{"json", `{"key":"k","value":"v"}` + "\n" + `{"value_base64":"eA==","key":null}`, []string{"--json"}, []kv{{"k", "v"}, {nil, "x"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			do(t, tc.input, append([]string{"append", dir, "t", "--create"}, tc.flags...)...)
			var got []kv
			for i, o := range objects(t, do(t, "", "read", dir, "t", "--output", "json")) {
				require.EqualValues(t, i, o["offset"])
				got = append(got, kv{o["key"], o["value"]})
			}
			require.Equal(t, tc.want, got)
		})
	}
}

// TestAppendBatch checks how many records a commit has, and that acknowledgements come in order.
func TestAppendBatch(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "create", dir, "t", "--partitions", "3")
	acks := do(t, strings.Repeat("x\n", 25), "append", dir, "t", "--batch", "10", "--partition", "2", "--print-acks")
	var want strings.Builder
	for i := range 25 {
		fmt.Fprintf(&want, "2 %d\n", i)
	}
	require.Equal(t, want.String(), acks)
	var counts []any
	for _, b := range ofKind(t, do(t, "", "dump", dir, "--json"), "batch") {
		if b["topic"] == "t" {
			counts = append(counts, b["count"])
		}
	}
	require.Equal(t, []any{10.0, 10.0, 5.0}, counts)
}

// TestAppendAcks checks for every level and codec that what was acknowledged is there, at its place.
func TestAppendAcks(t *testing.T) {
	var input strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&input, "key-%d value %d\n", i%17, i)
	}
	for i, sync := range []string{"synced", "written", "buffered"} {
		codec := []string{"gzip", "snappy", "zstd"}[i]
		t.Run(sync+" "+codec, func(t *testing.T) {
			dir := t.TempDir()
			do(t, "", "create", dir, "t", "--partitions", "4")
			acks := do(t, input.String(), "append", dir, "t", "--key-column", "1", "--batch", "300", "--sync", sync, "--compress", codec, "--print-acks")
			at := map[string]string{}
			for _, o := range objects(t, do(t, "", "read", dir, "t", "--output", "json")) {
				at[fmt.Sprintf("%v %v", o["partition"], o["offset"])] = o["value"].(string)
			}
			places := strings.Fields(strings.ReplaceAll(strings.TrimSpace(acks), " ", "/"))
			require.Len(t, places, 1000)
			for i, line := range strings.Split(strings.TrimSpace(input.String()), "\n") {
				require.Equal(t, line, at[strings.Replace(places[i], "/", " ", 1)])
			}
			require.Equal(t, codec, ofKind(t, do(t, "", "dump", dir, "--json"), "batch")[1]["codec"])
		})
	}
}

// TestAppendDue checks that a line that nothing follows is committed and acknowledged although neither
// its commit is full nor the input ends.
func TestAppendDue(t *testing.T) {
	dir := t.TempDir()
	in, typed := io.Pipe()
	printed, out := io.Pipe()
	var messages bytes.Buffer
	status := make(chan int)
	go func() {
		status <- run(context.Background(), []string{"append", dir, "t", "--create", "--print-acks"}, in, out, &messages)
	}()
	acks := bufio.NewReader(printed)
	for i := range 3 {
		_, err := typed.Write([]byte("a line\n"))
		require.NoError(t, err)
		ack, err := acks.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("0 %d\n", i), ack)
	}
	require.NoError(t, typed.Close())
	require.Equal(t, exitDone, <-status)
	require.Contains(t, messages.String(), "strata: 3 records, 21 bytes, ")
}

// TestAppendInterrupted checks that a signal ends the input, and that what was read before is committed
// and told of.
func TestAppendInterrupted(t *testing.T) {
	dir := t.TempDir()
	in, typed := io.Pipe()
	defer func() { _ = typed.Close() }()
	printed, out := io.Pipe()
	var messages bytes.Buffer
	status := make(chan int)
	ctx, interrupt := context.WithCancel(context.Background())
	go func() {
		status <- run(ctx, []string{"append", dir, "t", "--create", "--print-acks"}, in, out, &messages)
	}()
	_, err := typed.Write([]byte("one\ntwo\n"))
	require.NoError(t, err)
	ack, err := bufio.NewReader(printed).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "0 0\n", ack)
	interrupt()
	require.Equal(t, exitNotDone, <-status)
	require.Contains(t, messages.String(), "strata: 2 records, 8 bytes, ")
	require.Contains(t, messages.String(), "strata: interrupted\n")
	require.Equal(t, "one\ntwo\n", do(t, "", "read", dir, "t"))
}

// TestAppendBadLine checks that the lines before one that cannot be taken are there, and that the message
// names the line.
func TestAppendBadLine(t *testing.T) {
	for name, tc := range map[string]struct {
		input, message string
		flags          []string
	}{
		"json":     {"{\"value\":\"a\"}\n{\"value\":\"b\"}\n{]\n{\"value\":\"c\"}\n", "line 3: not a record in JSON", []string{"--json"}},
		"too long": {"a\nb\n" + strings.Repeat("x", maxLineBytes+1) + "\nc\n", "line 3: line of ", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := try(t, tc.input, append([]string{"append", dir, "t", "--create"}, tc.flags...)...)
			require.Equal(t, exitNotDone, r.status)
			require.Contains(t, r.errors, tc.message)
			require.Contains(t, r.errors, "strata: 2 records, ")
			require.Equal(t, "a\nb\n", do(t, "", "read", dir, "t"))
		})
	}
}

// TestAppendLongLines appends lines as long as they may be, of which a hundred do not fit one commit.
func TestAppendLongLines(t *testing.T) {
	dir := t.TempDir()
	lines := 5
	if testing.Short() {
		lines = 2
	}
	input := bytes.Repeat(append(bytes.Repeat([]byte("x"), maxLineBytes), '\n'), lines)
	file := filepath.Join(t.TempDir(), "input")
	require.NoError(t, os.WriteFile(file, input, 0o600))
	do(t, "", "append", dir, "t", file, "--create", "--key-column", "1", "--sync", "written")
	require.True(t, do(t, "", "read", dir, "t") == string(input))
	keyed := objects(t, do(t, "", "read", dir, "t", "--output", "json", "--count", "1"))
	require.Len(t, keyed[0]["key"], maxLineBytes)
}

// brokenReader fails behind its text.
type brokenReader struct{ text io.Reader }

var errBroken = errors.New("the cable is out")

func (r brokenReader) Read(b []byte) (int, error) {
	n, err := r.text.Read(b)
	if errors.Is(err, io.EOF) {
		err = errBroken
	}
	return n, err
}

// TestAppendInputFails checks that half a line in front of an error is no record.
func TestAppendInputFails(t *testing.T) {
	dir := t.TempDir()
	var out, messages bytes.Buffer
	status := run(context.Background(), []string{"append", dir, "t", "--create"}, brokenReader{strings.NewReader("one\ntw")}, &out, &messages)
	require.Equal(t, exitNotDone, status)
	require.Contains(t, messages.String(), "strata: 1 records, 4 bytes, ")
	require.Contains(t, messages.String(), "the cable is out")
	require.Equal(t, "one\n", do(t, "", "read", dir, "t"))
}

// TestAppendRefused checks that nothing is appended behind a commit that was refused, although it would
// be taken: the lines that are there have no hole.
func TestAppendRefused(t *testing.T) {
	l, err := log.Open(t.TempDir(), log.Options{MaxCommitBytes: 1 << 10})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	a := newApp(nil, io.Discard, io.Discard)
	p, err := a.newAppender(t.Context(), l, "t", &appendFlags{create: true, batch: 1, changed: func(string) bool { return false }})
	require.NoError(t, err)
	p.format = wholeLine
	input := "a\nb\n" + strings.Repeat("x", 2<<10) + "\nc\nd\n"
	err = p.run(t.Context(), readLines(strings.NewReader(input), maxLineBytes))
	var limit *log.LimitError
	require.ErrorAs(t, err, &limit)
	require.EqualValues(t, 1<<10, limit.Limit)
	require.Contains(t, p.summary(), "2 records, 4 bytes, ")
	require.EqualValues(t, 2, p.topic.Partition(0).Next())
}
