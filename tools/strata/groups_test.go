package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
)

// numbers are n lines, from one on.
func numbers(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, from+i)
	}
	return b.String()
}

// committedOf returns what a group has committed of each partition of a topic.
func committedOf(t *testing.T, dir, group string) map[int]int {
	t.Helper()
	offsets := map[int]int{}
	for _, g := range objects(t, do(t, "", "groups", dir, "--json")) {
		if g["group"] != group {
			continue
		}
		for _, o := range g["offsets"].([]any) {
			row := o.(map[string]any)
			offsets[int(row["partition"].(float64))] = int(row["offset"].(float64))
		}
	}
	return offsets
}

// TestReadGroupPackageLog goes on in the package log of a Debian machine where the group was.
func TestReadGroupPackageLog(t *testing.T) {
	const file = "../../examples/quickstart/testdata/dpkg.log"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	if here, err := os.ReadFile("/var/log/dpkg.log"); err == nil && bytes.Count(here, []byte("\n")) > 2000 {
		text = here
	}
	lines := strings.SplitAfter(string(text), "\n")
	n := min(1000, (len(lines)-1)/3)
	dir := t.TempDir()
	do(t, string(text), "append", dir, "dpkg", "--create")
	count := fmt.Sprint(n)
	for _, from := range []int{0, n} {
		got := do(t, "", "read", dir, "dpkg", "--group", "g", "--count", count)
		require.True(t, got == strings.Join(lines[from:from+n], ""), "lines %d to %d", from+1, from+n)
		require.Equal(t, map[int]int{0: from + n}, committedOf(t, dir, "g"))
	}
	rest := do(t, "", "read", dir, "dpkg", "--group", "g")
	require.True(t, rest == strings.Join(lines[2*n:], ""), "the rest, and then it ends")
	require.Empty(t, do(t, "", "read", dir, "dpkg", "--group", "g"))
	require.Equal(t, string(lines[0]), do(t, "", "read", dir, "dpkg", "--group", "other", "--count", "1"))
}

// TestReadGroupFlags reads from elsewhere, in another form, in several partitions; and what does not fit
// is refused.
func TestReadGroupFlags(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "create", dir, "t", "--partitions", "4")
	do(t, numbers(0, 40), "append", dir, "t", "--batch", "1")
	all := strings.Fields(do(t, "", "read", dir, "t", "--group", "all"))
	require.ElementsMatch(t, strings.Fields(numbers(0, 40)), all)
	require.Empty(t, do(t, "", "read", dir, "t", "--group", "new", "--from", "newest"))
	require.Empty(t, do(t, "", "read", dir, "t", "--group", "new"), "it began at the newest")
	require.Len(t, objects(t, do(t, "", "read", dir, "t", "--group", "json", "--output", "json")), 40)
	require.Empty(t, do(t, "", "read", dir, "t", "--group", "none", "--count", "0"))
	for _, args := range [][]string{{"--partition", "1"}, {"--key", "k"}, {"--unsynced"}} {
		r := try(t, "", append([]string{"read", dir, "t", "--group", "g"}, args...)...)
		require.Equal(t, exitNotDone, r.status)
		require.Contains(t, r.errors, args[0]+" does not go with --group")
	}
	r := try(t, "", "read", dir, "t", "--group", "")
	require.Equal(t, exitNotDone, r.status)
	require.Contains(t, r.errors, "invalid group name")
	r = try(t, "", "read", dir, "none", "--group", "g")
	require.Equal(t, exitNotDone, r.status)
	// The system's own topics too, of which the reading itself makes records.
	require.NotEmpty(t, do(t, "", "read", dir, "__strata.groups", "--group", "meta"))
}

// TestReadGroupOutputFails commits nothing that was not printed.
func TestReadGroupOutputFails(t *testing.T) {
	dir := t.TempDir()
	do(t, numbers(0, 10), "append", dir, "t", "--create")
	var messages bytes.Buffer
	a := newApp(strings.NewReader(""), full{}, &messages)
	require.Equal(t, exitNotDone, a.run(t.Context(), []string{"read", dir, "t", "--group", "g"}))
	require.Contains(t, messages.String(), "no space")
	require.Equal(t, map[int]int{0: 0}, committedOf(t, dir, "g"))
}

// full is a file on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

// TestGroups lists and moves groups, also beside a program that has members.
func TestGroups(t *testing.T) {
	dir := t.TempDir()
	require.Empty(t, do(t, "", "create", dir, "t", "--partitions", "2"))
	require.Empty(t, do(t, "", "groups", dir, "--json"), "no groups yet")
	for p := range 2 {
		do(t, numbers(0, 10), "append", dir, "t", "--partition", fmt.Sprint(p))
	}
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	m, err := consumer.Join(t.Context(), l, "g", consumer.Options{Topics: []string{"t"}, Member: "one"})
	require.NoError(t, err)
	n := 0
	for r, err := range m.Available(t.Context()) {
		require.NoError(t, err)
		if m.MarkWith(r, "note"); n == 12 {
			break
		}
		n++
	}
	require.NoError(t, m.Commit(t.Context()))
	const table = `GROUP  GENERATION  MEMBERS  TOPIC  PARTITION  OFFSET  END  LAG  OWNER
g      1           1        t      0          10      10   0    one
g      1           1        t      1          3       10   7    one
`
	// A reader in another process learns a moment later that a commit is synced.
	require.Eventually(t, func() bool { return do(t, "", "groups", dir) == table }, 10*time.Second, 20*time.Millisecond)
	g := objects(t, do(t, "", "groups", dir, "--json"))[0]
	require.EqualValues(t, 7, g["lag"])
	require.Equal(t, []any{map[string]any{"id": "one", "topics": []any{"t"}, "owns": []any{
		map[string]any{"topic": "t", "partition": 0.0}, map[string]any{"topic": "t", "partition": 1.0},
	}}}, g["members"])
	require.Equal(t, "note", g["offsets"].([]any)[1].(map[string]any)["metadata"])
	r := try(t, "", "read", dir, "t", "--group", "g")
	require.Equal(t, exitNotDone, r.status, "it needs the directory to itself")
	require.NoError(t, l.Close())

	for _, step := range []struct {
		to   string
		want map[int]int
	}{
		{"oldest", map[int]int{0: 0, 1: 0}}, {"7", map[int]int{0: 7, 1: 7}}, {"+2", map[int]int{0: 9, 1: 9}},
		{"-4", map[int]int{0: 5, 1: 5}}, {"newest", map[int]int{0: 10, 1: 10}}, {"-100", map[int]int{0: 0, 1: 0}},
		{"+100", map[int]int{0: 10, 1: 10}}, {"1990-01-01T00:00:00Z", map[int]int{0: 0, 1: 0}},
		{"2990-01-01T00:00:00Z", map[int]int{0: 10, 1: 10}}, {"1000", map[int]int{0: 10, 1: 10}},
	} {
		require.Contains(t, do(t, "", "groups", "reset", dir, "g", "--topic", "t", "--to", step.to), "PARTITION")
		require.Equal(t, step.want, committedOf(t, dir, "g"), step.to)
	}
	require.Len(t, objects(t, do(t, "", "groups", "reset", dir, "made", "--topic", "t", "--to", "4", "--json")), 1)
	require.Equal(t, map[int]int{0: 4, 1: 4}, committedOf(t, dir, "made"))
	for _, args := range [][]string{
		{"g", "--topic", "t"}, {"g", "--to", "3"}, {"g", "--topic", "none", "--to", "3"}, {"g", "--topic", "t", "--to", "x"},
		{"g", "--topic", "t", "--to", "+x"}, {"", "--topic", "t", "--to", "3"}, {"--topic", "t", "--to", "3"},
	} {
		r := try(t, "", append([]string{"groups", "reset", dir}, args...)...)
		require.Equal(t, exitNotDone, r.status, args)
		require.NotEmpty(t, r.errors)
	}
}

// TestReadGroupKilled kills a process that reads as a group, again and again: nothing is skipped, and what
// is repeated is at most what was not committed.
func TestReadGroupKilled(t *testing.T) {
	rounds, n := 40, 200_000
	if testing.Short() {
		rounds, n = 10, 50_000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "log")
	do(t, numbers(0, n), "append", dir, "t", "--create")
	printed, repeated := 0, 0 // printed is behind the last line that was ever seen
	for round := range rounds {
		begin := committedOf(t, dir, "g")[0]
		require.LessOrEqual(t, begin, printed, "round %d: what is committed was printed", round)
		repeated += printed - begin
		c := exec.Command(program(t), "read", dir, "t", "--group", "g", "--count", "60000")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		after, next := 1+random.IntN(2*n/rounds), begin
		if random.IntN(2) == 0 {
			after = groupCommitRecords*random.IntN(3) + 1 // just flushed, and hardly committed
		}
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
			require.Equal(t, fmt.Sprintln(next), line, "round %d", round)
			next++
			if next == begin+after {
				require.NoError(t, c.Process.Kill())
			}
		}
		err = c.Wait()
		var exit *exec.ExitError
		if next < begin+after || !errors.As(err, &exit) {
			require.NoError(t, err, "round %d: it came to its end", round)
			require.Equal(t, next, committedOf(t, dir, "g")[0], "exactly what was printed")
		}
		printed = max(printed, next)
	}
	t.Logf("%d lines of %d, %d came again", printed, n, repeated)
	require.Positive(t, printed)
	rest := do(t, "", "read", dir, "t", "--group", "g")
	from := printed
	if rest != "" {
		_, err := fmt.Sscan(rest, &from)
		require.NoError(t, err)
	}
	require.LessOrEqual(t, from, printed)
	require.True(t, rest == numbers(from, n-from))
}

// TestReadGroupSignal ends a follower by a signal: exactly what it has printed is committed.
func TestReadGroupSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such signal")
	}
	dir := t.TempDir()
	do(t, numbers(0, 5000), "append", dir, "t", "--create")
	c := exec.Command(program(t), "read", dir, "t", "--group", "g", "--follow")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	var messages bytes.Buffer
	c.Stderr = &messages
	require.NoError(t, c.Start())
	n := 0
	for in := bufio.NewScanner(out); in.Scan(); {
		if n++; n == 5000 {
			require.NoError(t, c.Process.Signal(os.Interrupt))
		}
	}
	require.NoError(t, c.Wait(), messages.String())
	require.Empty(t, messages.String())
	require.Equal(t, 5000, n)
	require.Equal(t, map[int]int{0: 5000}, committedOf(t, dir, "g"))
}
