package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// built is the program, built once for all tests that need it as a process.
var built = struct {
	sync.Once
	path string
	err  error
}{}

func program(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		dir, err := os.MkdirTemp("", "strata-test-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "strata")
		if runtime.GOOS == "windows" {
			built.path += ".exe"
		}
		if out, err := exec.Command("go", "build", "-o", built.path, ".").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	require.NoError(t, built.err)
	return built.path
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.path != "" {
		_ = os.RemoveAll(filepath.Dir(built.path))
	}
	os.Exit(status)
}

// TestKill kills an appending process at a random moment, again and again on one directory. What it had
// acknowledged is there, at its offset, with its content; the log is clean at once; and the directory
// does not outgrow its data.
func TestKill(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "log")
	do(t, "", "create", dir, "t")
	acknowledged, next, torn := 0, 0, 0
	for round := range rounds {
		sync := []string{"synced", "written"}[random.IntN(2)]
		acks := killed(t, dir, next, sync, random)
		for i, ack := range acks {
			require.Equal(t, fmt.Sprintf("0 %d", next+i), ack, "round %d", round)
		}
		acknowledged += len(acks)

		verified := try(t, "", "verify", dir)
		require.Equal(t, exitDone, verified.status, "round %d: %s%s", round, verified.out, verified.errors)
		if strings.Contains(verified.out, "note: ") {
			torn++
		}
		// By turns the log is opened for reading, as the killed process has left it, or for writing.
		if random.IntN(2) == 0 {
			do(t, "", "create", dir, "t")
		}
		out := do(t, "", "read", dir, "t", "--from", fmt.Sprint(next))
		there := strings.Count(out, "\n")
		require.GreaterOrEqual(t, there, len(acks), "round %d", round)
		for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			if there > 0 {
				require.Equal(t, lineOf(next+i), line, "round %d", round)
			}
		}
		next += there
	}
	require.Positive(t, acknowledged)
	var all strings.Builder
	for i := range next {
		all.WriteString(lineOf(i) + "\n")
	}
	require.True(t, do(t, "", "read", dir, "t") == all.String())
	size := sizeOf(t, dir)
	t.Logf("%d records of %d bytes acknowledged of %d, %d torn tails, directory %d bytes", acknowledged, all.Len(), next, torn, size)
	require.Less(t, size, int64(4*all.Len()+2<<20))
}

// lineOf is the line that gets offset i.
func lineOf(i int) string {
	return fmt.Sprintf("%d %s", i, strings.Repeat(string(rune('a'+i%26)), i*7919%300))
}

// killed appends lines from the next one on in a process of its own, which it kills soon, and returns
// what that has acknowledged.
func killed(t *testing.T, dir string, next int, sync string, random *rand.Rand) []string {
	t.Helper()
	c := exec.Command(program(t), "append", dir, "t", "--print-acks", "--batch", fmt.Sprint(1+random.IntN(50)), "--sync", sync)
	in, err := c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	var messages bytes.Buffer
	c.Stderr = &messages
	require.NoError(t, c.Start())

	feeding := make(chan struct{})
	go func() {
		defer close(feeding)
		w := bufio.NewWriter(in)
		for i := next; ; i++ {
			if _, err := w.WriteString(lineOf(i) + "\n"); err != nil {
				return // it was killed
			}
			if i%20 == 0 && w.Flush() != nil {
				return
			}
		}
	}()
	// Some rounds die at some time, which may be while the log is being opened, the others after some acknowledgements.
	after, acks := 1+random.IntN(400), []string(nil)
	if random.IntN(3) == 0 {
		kill := time.AfterFunc(time.Duration(random.IntN(60))*time.Millisecond, func() { _ = c.Process.Kill() })
		defer kill.Stop()
	}
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break // what has no line feed was not printed whole
		}
		acks = append(acks, strings.TrimSuffix(line, "\n"))
		if len(acks) == after {
			_ = c.Process.Kill()
		}
	}
	_ = c.Process.Kill()
	require.NoError(t, in.Close())
	<-feeding
	var exit *exec.ExitError
	require.ErrorAs(t, c.Wait(), &exit)
	require.Equal(t, -1, exit.ExitCode(), "it ended by itself: %s", messages.String())
	return acks
}

func sizeOf(t *testing.T, dir string) int64 {
	t.Helper()
	total := int64(0)
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		total += info.Size()
		return err
	}))
	return total
}

// TestFollowProcess follows in a process of its own what this one appends, and measures how long after
// its acknowledgement a record is shown, also when nothing follows it.
func TestFollowProcess(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	topic, err := l.CreateTopic(t.Context(), "t", log.TopicOptions{})
	require.NoError(t, err)

	c := exec.Command(program(t), "read", dir, "t", "--follow")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	var messages bytes.Buffer
	c.Stderr = &messages
	require.NoError(t, c.Start())
	defer func() { _ = c.Process.Kill() }() // where the test has failed
	lines := bufio.NewReader(out)
	late := 0
	for i := range rounds {
		_, err := topic.Append(t.Context(), log.Record{Value: fmt.Append(nil, "line ", i)})
		require.NoError(t, err)
		acked := time.Now()
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("line %d\n", i), line)
		// The first one waits for the process to start.
		if took := time.Since(acked); i > 0 && took > 200*time.Millisecond {
			late++
			t.Logf("line %d took %v", i, took)
		}
	}
	require.LessOrEqual(t, late, rounds/4, "a busy machine may delay some of them")
	if runtime.GOOS == "windows" {
		require.NoError(t, c.Process.Kill()) // there is no other signal
		_ = c.Wait()
		return
	}
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.NoError(t, c.Wait(), "a signal is how following ends")
	require.Empty(t, messages.String())
}

// TestPipeClosed checks in a process of its own that a reader who leaves ends a command quietly.
func TestPipeClosed(t *testing.T) {
	dir := t.TempDir()
	do(t, strings.Repeat("a line\n", 50_000), "append", dir, "t", "--create")
	c := exec.Command(program(t), "read", dir, "t")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	var messages bytes.Buffer
	c.Stderr = &messages
	require.NoError(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "a line\n", line)
	require.NoError(t, out.Close())
	require.NoError(t, c.Wait())
	require.Empty(t, messages.String())
}
