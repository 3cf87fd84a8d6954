package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection/projectiontest"
)

// result runs the program with --json.
func result(t *testing.T, args ...string) report {
	t.Helper()
	var out, messages bytes.Buffer
	require.NoError(t, run(context.Background(), append([]string{"--json"}, args...), &out, &messages))
	require.Empty(t, messages.String())
	var r report
	d := json.NewDecoder(&out)
	require.NoError(t, d.Decode(&r))
	require.False(t, d.More())
	return r
}

// naive is what a loop over the lines finds.
func naive(lines []string) report {
	r := report{}
	packages, installed := map[string]bool{}, map[string]string{}
	for _, line := range lines {
		c := strings.Fields(line)
		switch {
		case len(c) < 4 || c[2] == "startup" || c[2] == "conffile":
		case c[2] != "status":
			r.Events++
			packages[c[3]] = true
		default:
			r.Events++
			packages[c[4]] = true
			delete(installed, c[4])
			if c[3] == "installed" {
				installed[c[4]] = c[5]
			}
		}
	}
	r.Streams = len(packages)
	for name, version := range installed {
		r.Installed = append(r.Installed, entry{name, version})
	}
	slices.SortFunc(r.Installed, func(a, b entry) int { return strings.Compare(a.Package, b.Package) })
	return r
}

// TestPackages reads logs, whole and in rotated parts, twice and when they have grown, and compares with a
// loop over the lines.
func TestPackages(t *testing.T) {
	for _, name := range []string{"testdata/dpkg.log", "/var/log/dpkg.log"} {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(t, err)
		t.Run(name, func(t *testing.T) {
			lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			want := naive(lines)
			want.Files = 1
			require.Equal(t, want, result(t, name))

			dir := t.TempDir()
			part := func(name string, lines []string) string {
				path := filepath.Join(dir, name)
				body := []byte(strings.Join(lines, "\n") + "\n")
				if strings.HasSuffix(name, ".gz") {
					var b bytes.Buffer
					w := gzip.NewWriter(&b)
					_, err := w.Write(body)
					require.NoError(t, err)
					require.NoError(t, w.Close())
					body = b.Bytes()
				}
				require.NoError(t, os.WriteFile(path, body, 0o600))
				return path
			}
			data := filepath.Join(dir, "data")
			n := len(lines)
			early := part("early", lines[:n/2])
			grown := naive(lines[:n/2])
			grown.Files = 1
			require.Equal(t, grown, result(t, "--dir", data, early))
			files := []string{part("dpkg.log", lines[2*n/3:]), part("dpkg.log.1", lines[n/3:2*n/3]), part("dpkg.log.2.gz", lines[:n/3])}
			want.Files = 3
			for range 2 {
				require.Equal(t, want, result(t, append([]string{"--dir", data}, files...)...))
			}
			require.Equal(t, want, result(t, files...))
		})
	}
}

// TestEmbedded reads the log that comes with the program, as is done where the system has none.
func TestEmbedded(t *testing.T) {
	f, err := embedded(sample)
	require.NoError(t, err)
	require.Greater(t, len(f.lines), 100)
	want := naive(f.lines)
	want.Files = 1
	got, err := process(context.Background(), t.TempDir(), []file{f})
	require.NoError(t, err)
	got.Files = 1
	require.Equal(t, want, got)
}

// TestJSON holds the keys of what is printed.
func TestJSON(t *testing.T) {
	var out, messages bytes.Buffer
	require.NoError(t, run(context.Background(), []string{"--json", "testdata/dpkg.log"}, &out, &messages))
	var r map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	require.ElementsMatch(t, []string{"files", "events", "streams", "installed"}, slices.Collect(maps.Keys(r)))
	first := r["installed"].([]any)[0].(map[string]any)
	require.ElementsMatch(t, []string{"package", "version"}, slices.Collect(maps.Keys(first)))
	require.Contains(t, first["package"], ":")
}

// TestDpkgQuery compares with what dpkg says itself, for each package that its log says is installed.
func TestDpkgQuery(t *testing.T) {
	if files, err := systemFiles(); err != nil || len(files) == 0 {
		t.Skip("no dpkg.log")
	}
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Package}:${Architecture} ${Version} ${db:Status-Status}\n").Output()
	if err != nil {
		t.Skip("no dpkg-query")
	}
	says := map[string]string{}
	for line := range strings.Lines(string(out)) {
		c := strings.Fields(line)
		if len(c) == 3 && c[2] == "installed" {
			says[c[0]] = c[1]
		}
	}
	r := result(t)
	require.NotEmpty(t, r.Installed)
	for _, p := range r.Installed {
		require.Equal(t, says[p.Package], p.Version, p.Package)
	}
}

func TestTable(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), []string{"testdata/dpkg.log"}, &out, os.Stderr))
	require.Regexp(t, `(?m)^PACKAGE +VERSION$`, out.String())
	require.Regexp(t, `(?m)^\d+ events of \d+ packages in 1 files; \d+ are installed$`, out.String())
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left)
	require.Error(t, run(context.Background(), []string{"no such file"}, &out, os.Stderr))
	require.Error(t, run(context.Background(), []string{"--odd"}, &bytes.Buffer{}, &bytes.Buffer{}))
}

func TestParseLine(t *testing.T) {
	for line, want := range map[string]any{
		"2025-06-24 14:36:25 startup archives unpack":    nil,
		"2025-06-24 14:36:25 conffile /etc/a keep":       nil,
		"2025-06-24 14:36:25 status installed a:amd64":   StatusChanged{"installed", ""},
		"2025-06-24 14:36:25 status installed a:amd64 1": StatusChanged{"installed", "1"},
		"2025-06-24 14:36:25 status installed":           nil,
		"2025-06-24 14:36:25 install a:all <none> 2":     Installed{"2"},
		"2025-06-24 14:36:25 upgrade a:all 1 2":          Upgraded{"1", "2"},
		"2025-06-24 14:36:25 configure a:all 2 <none>":   Configured{"2"},
		"2025-06-24 14:36:25 trigproc a:all 2 <none>":    Triggered{"2"},
		"2025-06-24 14:36:25 remove a:all 2 <none>":      Removed{"2"},
		"2025-06-24 14:36:25 purge a:all 2 <none>":       Purged{"2"},
		"2025-06-24 14:36:25 disappear a:all 2":          Other{"disappear", []string{"2"}},
		"2025-06-24 14:36 install a:all <none> 2":        nil,
		"": nil,
	} {
		e, name, _, ok := parseLine(line)
		require.Equal(t, want, e, line)
		require.Equal(t, want != nil, ok, line)
		if ok {
			require.Contains(t, []string{"a:all", "a:amd64"}, name)
		}
	}
}

// TestModelIsRepeatable shows that the handler depends on the events alone.
func TestModelIsRepeatable(t *testing.T) {
	dir := t.TempDir()
	want := result(t, "--dir", dir, "testdata/dpkg.log")
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	projectiontest.CheckReplay(t, l, installed())
	require.NotEmpty(t, want.Installed)
}
