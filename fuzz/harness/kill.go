package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
)

// The child of T9 is the test binary or campaign itself, told by its environment what to do.
const (
	killDirEnv   = "STRATA_KILL_DIR"   // where the log is
	killAtEnv    = "STRATA_KILL_AT"    // the file operation at which the child kills itself; 0 for none, and files that can be mapped
	killRoundEnv = "STRATA_KILL_ROUND" // what the values of this life begin with
)

// KillChild is to be called first by the main function or TestMain of a program that calls Kills: in a
// child of Kills it appends until it is killed, and does not return.
func KillChild() {
	dir := os.Getenv(killDirEnv)
	if dir == "" {
		return
	}
	at, _ := strconv.ParseInt(os.Getenv(killAtEnv), 10, 64)
	if err := killed(dir, os.Getenv(killRoundEnv), at, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(3)
	}
	os.Exit(0)
}

// killsAt returns fs, whose at-th operation is the last thing that this process does.
func killsAt(fs vfs.FS, at int64) vfs.FS {
	var ops atomic.Int64
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(errorfs.Op) error {
		if ops.Add(1) == at {
			p, err := os.FindProcess(os.Getpid())
			if err == nil {
				_ = p.Kill()
			}
			select {} // until it takes effect
		}
		return nil
	}))
}

// killed appends and tells of each acknowledgement: partition, offset and value.
func killed(dir, round string, at int64, acks io.Writer) error {
	fs := osfs.Default // whose files are mapped, for writing as well
	if at > 0 {
		fs = killsAt(fs, at)
	}
	l, err := log.Open(dir, log.Options{FS: fs, SegmentBytes: 256 << 10, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	t, err := l.CreateTopic(background, "events", log.TopicOptions{Partitions: 3})
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(at), 13))
	for i := 0; i < 4000; i++ {
		c := l.NewCommit()
		// Whoever is killed keeps what was written. Where files can be mapped, most commits are soon copied there.
		if c.Durability(log.Durability(i % 2)); at == 0 && i%16 != 0 {
			c.Durability(log.Written)
		}
		n := 1 + rng.IntN(3)
		for k := range n {
			value := fmt.Sprintf("%s.%d.%d.%s", round, i, k, strings.Repeat("v", rng.IntN(900)))
			c.AppendTo(t.Partition(int32(rng.IntN(3))), log.Record{Value: []byte(value)})
		}
		if i%3 == 0 {
			c.Require(log.Once(fmt.Sprintf("%s.%d", round, i)))
		}
		r, err := c.Commit(background)
		if err != nil {
			return err
		}
		line := ""
		for k := range n {
			partition, offset, _ := r.Record(k)
			line += fmt.Sprintf("%d %d %s.%d.%d.\n", partition, offset, round, i, k)
		}
		if _, err := io.WriteString(acks, line); err != nil {
			return err
		}
		if i%500 == 499 {
			if err := l.Close(); err != nil {
				return err
			}
			return killed(dir, round+"r", at, acks) // goes on with a log that was closed
		}
	}
	return l.Close()
}

// acked is a record that a child has told of.
type acked struct {
	partition int32
	offset    int64
	value     string // what its value begins with
}

// Kills ends real processes by SIGKILL while they append to a log on a real file system, each at a
// random moment or at its n-th file operation, all on one directory. After each kill the log must open
// without an error and hold every record that was acknowledged, whole commits only. An image is a kill.
func Kills(t testing.TB, rounds int, o Options) Stats {
	t.Helper()
	o = o.withDefaults()
	rng := rand.New(rand.NewPCG(o.Seed, 17))
	root, err := os.MkdirTemp("", "strata-kills-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := vfs.Default.PathJoin(root, "log")
	var stats Stats
	var all []acked
	for round := range rounds {
		at := int64(0)
		if round%2 == 0 {
			at = 1 + rng.Int64N(400)
		}
		lines, err := oneKill(self, dir, round, at, rng)
		all = append(all, lines...)
		if err == nil {
			err = afterKill(dir, all)
		}
		stats.Images++
		stats.Acked += len(lines)
		if err != nil {
			stats.Violations++
			t.Errorf("T9 round %d, killed at operation %d: %v\n%s", round, at, err, replay(t, o.Seed))
			return stats
		}
		if len(all) > 30_000 { // begin anew, so that looking at all of it stays quick
			all = nil
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	return stats
}

// oneKill starts a child, kills it, and returns what it had told.
func oneKill(self, dir string, round int, at int64, rng *rand.Rand) ([]acked, error) {
	child := exec.Command(self)
	child.Env = append(os.Environ(), killDirEnv+"="+dir, fmt.Sprintf("%s=%d", killAtEnv, at), fmt.Sprintf("%s=%d", killRoundEnv, round))
	out, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr strings.Builder
	child.Stderr = &stderr
	if err := child.Start(); err != nil {
		return nil, err
	}
	// A life without a number ends when so many records were told of, early or when files have long been mapped.
	most := math.MaxInt
	if at == 0 {
		most = 1 + rng.IntN([]int{50, 2000}[rng.IntN(2)])
	}
	var lines []acked
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			break // a line that was cut short was not told
		}
		var a acked
		if _, err := fmt.Sscanf(line, "%d %d %s", &a.partition, &a.offset, &a.value); err != nil {
			return lines, fmt.Errorf("child said %q", line)
		}
		if lines = append(lines, a); len(lines) == most {
			_ = child.Process.Kill() // it goes on until that takes effect
		}
	}
	err = child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 {
		return lines, fmt.Errorf("child: %s", stderr.String())
	}
	return lines, nil
}

// afterKill opens the log and looks for what was acknowledged.
func afterKill(dir string, all []acked) (err error) {
	l, err := log.Open(dir, log.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	t, err := l.Topic("events")
	if errors.Is(err, log.ErrNoTopic) && len(all) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	values := make([][]string, 3)
	for r, err := range t.Read(log.Oldest) {
		if err != nil {
			return err
		}
		values[r.Partition] = append(values[r.Partition], string(r.Value))
	}
	for _, a := range all {
		if a.offset >= int64(len(values[a.partition])) || !strings.HasPrefix(values[a.partition][a.offset], a.value) {
			return fmt.Errorf("%s was acknowledged at partition %d offset %d and is gone (%d there)", a.value, a.partition, a.offset, len(values[a.partition]))
		}
	}
	return whole(values)
}

// whole checks that of each commit there are the first records, without a gap: with the check of each
// acknowledged record at its place, no half commit can hide.
func whole(values [][]string) error {
	seen := map[string][]bool{}
	for _, p := range values {
		for _, v := range p {
			parts := strings.SplitN(v, ".", 4)
			if len(parts) != 4 {
				return fmt.Errorf("a record that nobody appended: %.40q", v)
			}
			k, err := strconv.Atoi(parts[2])
			if err != nil || k > 2 {
				return fmt.Errorf("a record that nobody appended: %.40q", v)
			}
			id := parts[0] + "." + parts[1]
			for len(seen[id]) <= k {
				seen[id] = append(seen[id], false)
			}
			if seen[id][k] {
				return fmt.Errorf("record %s.%d is there twice", id, k)
			}
			seen[id][k] = true
		}
	}
	for id, there := range seen {
		for k, ok := range there {
			if !ok {
				return fmt.Errorf("commit %s lacks record %d", id, k)
			}
		}
	}
	return nil
}
