package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/log"
)

var update = flag.Bool("update", false, "write golden files anew")

// result is what a command left behind.
type result struct {
	status      int
	out, errors string
}

// try runs a command in this process, and checks what holds for each: messages have their prefix.
func try(t testing.TB, stdin string, args ...string) result {
	t.Helper()
	return tryApp(t, stdin, nil, args...)
}

func tryApp(t testing.TB, stdin string, change func(*log.Options), args ...string) result {
	t.Helper()
	var out, messages bytes.Buffer
	a := newApp(strings.NewReader(stdin), &out, &messages)
	if change != nil {
		change(&a.options)
	}
	status := a.run(context.Background(), args)
	for line := range strings.Lines(messages.String()) {
		require.True(t, strings.HasPrefix(line, "strata: "), "message %q", line)
		require.True(t, strings.HasSuffix(line, "\n"), "message %q", line)
	}
	return result{status, out.String(), messages.String()}
}

// do runs a command that must succeed, and returns its output.
func do(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	r := try(t, stdin, args...)
	require.Equal(t, exitDone, r.status, "strata %q: %s", args, r.errors)
	return r.out
}

// objects decodes a JSON object a line.
func objects(t testing.TB, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		if err := d.Decode(&o); err == io.EOF {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, o)
	}
}

// ofKind returns the objects of a kind.
func ofKind(t testing.TB, text, kind string) []map[string]any {
	t.Helper()
	var some []map[string]any
	for _, o := range objects(t, text) {
		if o["kind"] == kind {
			some = append(some, o)
		}
	}
	return some
}

// dateless makes a log's ids and times the same in every run.
func dateless() func(*log.Options) {
	c := clock.NewManual(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	random := &counter{}
	return func(o *log.Options) { o.Clock, o.Rand = c, random }
}

// counter yields the bytes 0, 1, 2 …
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = c.n
		c.n++
	}
	return len(b), nil
}

// golden compares got with a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// segmentFile returns the path of the i-th segment.
func segmentFile(t testing.TB, dir string, i int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "log", "*.seg"))
	require.NoError(t, err)
	require.Greater(t, len(files), i)
	return files[i]
}

// flip changes a byte of a file.
func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
}
