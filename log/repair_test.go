package log_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// image is the content of a directory, by path below it.
type image map[string][]byte

func takeImage(t testing.TB, fs vfs.FS, dir string) image {
	t.Helper()
	out := image{}
	var walk func(rel string)
	walk = func(rel string) {
		full := fs.PathJoin(dir, rel)
		info, err := fs.Stat(full)
		require.NoError(t, err)
		if !info.IsDir() {
			f, err := fs.Open(full)
			require.NoError(t, err)
			b, err := io.ReadAll(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			out[rel] = b
			return
		}
		names, err := fs.List(full)
		require.NoError(t, err)
		for _, n := range names {
			walk(path.Join(rel, n))
		}
	}
	walk("")
	return out
}

// restore writes the image below dir.
func (m image) restore(t testing.TB, fs vfs.FS, dir string) {
	t.Helper()
	for name, b := range m {
		putFile(t, fs, fs.PathJoin(dir, name), b)
	}
}

func putFile(t testing.TB, fs vfs.FS, name string, b []byte) {
	t.Helper()
	require.NoError(t, fs.MkdirAll(fs.PathDir(name), 0o700))
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(slices.Clone(b)) // under the race detector MemFS spoils what it was given
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// place is where a record is.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// contents reads the whole log, system topics too, past what is told as lost.
func contents(t testing.TB, l *log.Log) (map[place]string, []*log.LostError) {
	t.Helper()
	got := map[place]string{}
	var lost []*log.LostError
	for r, err := range l.Read(log.Oldest, log.ReadOptions{System: true}) {
		var gone *log.LostError
		if errors.As(err, &gone) {
			lost = append(lost, gone)
			continue
		}
		require.NoError(t, err)
		got[place{r.Topic, r.Partition, r.Offset}] = fmt.Sprint(r.Position, " ", string(r.Key), " ", string(r.Value))
	}
	return got, lost
}

// repaired repairs the log and checks that it is well afterwards: clean, open, nothing new in it, and
// no offset given again. It returns how many records of want are lost.
func repaired(t testing.TB, fs vfs.FS, dir string, want map[place]string, next map[place]int64, what string) (lost int, r *log.RepairReport) {
	t.Helper()
	r, err := log.Repair(ctx, dir, log.RepairOptions{FS: fs})
	require.NoError(t, err, what)
	after, err := log.Verify(ctx, dir, log.VerifyOptions{FS: fs})
	require.NoError(t, err, what)
	require.Empty(t, after.Findings, what)
	again, err := log.Repair(ctx, dir, log.RepairOptions{FS: fs})
	require.NoError(t, err, what)
	require.False(t, again.Changed, what)

	ro := open(t, fs, dir, log.Options{ReadOnly: true, Logger: quiet})
	shown, _ := contents(t, ro)
	require.NoError(t, ro.Close())
	l := open(t, fs, dir, log.Options{SegmentBytes: 64 << 10, Logger: quiet})
	got, _ := contents(t, l)
	require.Equal(t, got, shown, what)
	checkGaps(t, l, want, got, what)
	for at, v := range got {
		if strings.HasPrefix(at.topic, "recovered.") {
			require.Contains(t, slices.Collect(maps.Values(want)), v, what)
			continue
		}
		require.Equal(t, want[at], v, "%s: %v", what, at)
	}
	lost = len(want) - len(got)
	if len(r.Findings) > 0 && l.Topics() != nil {
		for at, n := range next {
			tp, err := l.Topic(at.topic)
			if err != nil {
				continue // its creation is lost
			}
			res, err := tp.Partition(at.partition).Append(ctx, log.Record{Value: []byte("new")})
			require.NoError(t, err, what)
			require.GreaterOrEqual(t, res.Offset, n, "%s: %v", what, at)
		}
	}
	require.NoError(t, l.Close())
	after, err = log.Verify(ctx, dir, log.VerifyOptions{FS: fs})
	require.NoError(t, err, what)
	require.Empty(t, after.Findings, what)
	return lost, r
}

// checkGaps checks that the records which are gone lie in gaps, and those that are there do not.
func checkGaps(t testing.TB, l *log.Log, want, got map[place]string, what string) {
	t.Helper()
	positions := func(all map[place]string) map[uint64]bool {
		set := map[uint64]bool{}
		for _, v := range all {
			position, err := strconv.ParseUint(v[:strings.IndexByte(v, ' ')], 10, 64)
			require.NoError(t, err, what)
			set[position] = true
		}
		return set
	}
	gaps, err := l.Gaps(ctx, 0)
	require.NoError(t, err, what)
	in := func(at uint64) bool {
		return slices.ContainsFunc(gaps, func(g log.Gap) bool { return g.From <= at && at < g.To })
	}
	for i, g := range gaps {
		require.Less(t, g.From, g.To, what)
		require.LessOrEqual(t, g.To, l.Position(), what)
		later, err := l.Gaps(ctx, g.From+1)
		require.NoError(t, err, what)
		rest := gaps[i+1:]
		if g.To-g.From > 1 {
			rest = append([]log.Gap{{From: g.From + 1, To: g.To}}, rest...)
		}
		require.Equal(t, fmt.Sprint(rest), fmt.Sprint(later), what)
	}
	there := positions(got)
	for at := range there {
		require.False(t, in(at), "%s: position %d", what, at)
	}
	for at := range positions(want) {
		require.True(t, in(at) || there[at], "%s: position %d and %v", what, at, gaps)
	}
}

// nexts returns the offsets behind the records of a topic, by partition.
func nexts(want map[place]string, topic string) map[place]int64 {
	out := map[place]int64{}
	for at := range want {
		if at.topic == topic {
			k := place{topic, at.partition, 0}
			out[k] = max(out[k], at.offset+1)
		}
	}
	return out
}

func TestRepairEveryByteOfLastSegment(t *testing.T) {
	src := vfs.NewMem()
	l := open(t, src, "data", log.Options{})
	fill(t, l, "a", 2, 5, 20)
	fill(t, l, "b", 1, 3, 20)
	require.NoError(t, l.Close())
	l = open(t, src, "data", log.Options{ReadOnly: true})
	want, _ := contents(t, l)
	require.NoError(t, l.Close())
	next := nexts(want, "a")
	data := takeImage(t, src, "data")
	name := "log/" + segment.Name{}.String()
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 0; at < len(data[name]); at += step {
		fs := vfs.NewMem()
		data.restore(t, fs, "data")
		flip(t, fs, "data/"+name, int64(at))
		what := fmt.Sprint("byte ", at)
		before := verify(t, fs, "data")
		require.NotEmpty(t, before.Findings, what)
		require.Equal(t, path.Base(name), before.Findings[0].File, what)
		require.LessOrEqual(t, before.Findings[0].Byte, int64(at), what)
		dry, err := log.Repair(ctx, "data", log.RepairOptions{FS: fs, DryRun: true})
		require.NoError(t, err, what)
		require.False(t, dry.Changed)
		lost, r := repaired(t, fs, "data", want, next, what)
		require.LessOrEqual(t, lost, 1, what)
		require.Equal(t, dry.Lost, r.Lost, what)
		require.Equal(t, dry.MovedAside, r.MovedAside, what)
		require.Equal(t, dry.Written, r.Written, what)
		if lost > 0 {
			require.NotEmpty(t, r.Lost, what)
		}
		kept := takeImage(t, fs, "data/damaged")
		require.Len(t, kept[path.Base(name)], len(data[name]))
	}
}

func TestRepairSegments(t *testing.T) {
	src := vfs.NewMem()
	smallLog(t, src, "data")
	l := open(t, src, "data", log.Options{ReadOnly: true})
	want, _ := contents(t, l)
	require.NoError(t, l.Close())
	next := nexts(want, "a")
	data := takeImage(t, src, "data")
	var segs []string
	for name := range data {
		if strings.HasSuffix(name, ".seg") {
			segs = append(segs, name)
		}
	}
	segs = sorted(segs)
	require.GreaterOrEqual(t, len(segs), 3)
	check := func(what string, most int, damage func(fs vfs.FS), file string) {
		fs := vfs.NewMem()
		data.restore(t, fs, "data")
		damage(fs)
		found := verify(t, fs, "data")
		require.NotEmpty(t, found.Findings, what)
		assert.Equal(t, path.Base(file), found.Findings[0].File, what)
		lost, r := repaired(t, fs, "data", want, next, what)
		require.LessOrEqual(t, lost, most, what)
		require.NotEmpty(t, r.MovedAside, what)
	}
	many := len(want)
	for i, name := range segs {
		step := len(data[name]) / 40
		if testing.Short() {
			step *= 4
		}
		written := len(bytes.TrimRight(data[name], "\x00")) // zeros for what was to come are not judged
		for at := i; at < written; at += step {
			if i < len(segs)-1 && at >= len(data[name])-segment.FrameHeadBytes {
				continue // a sealing mark is behind the end
			}
			check(fmt.Sprint(name, " byte ", at), 1, func(fs vfs.FS) { flip(t, fs, "data/"+name, int64(at)) }, name)
		}
		check(name+" head", 0, func(fs vfs.FS) { flip(t, fs, "data/"+name, 40) }, name)
		check(name+" catalog", 0, func(fs vfs.FS) { flip(t, fs, "data/"+name, segment.HeadBytes+60) }, name)
		check(name+" head and catalog", 0, func(fs vfs.FS) {
			flip(t, fs, "data/"+name, 40)
			flip(t, fs, "data/"+name, segment.HeadBytes+60)
		}, name)
		check(name+" empty", many, func(fs vfs.FS) { putFile(t, fs, "data/"+name, nil) }, name)
		check(name+" random", many, func(fs vfs.FS) { putFile(t, fs, "data/"+name, []byte(strings.Repeat("junk!", 5000))) }, name)
		if i < len(segs)-1 {
			check(name+" cut", many, func(fs vfs.FS) { putFile(t, fs, "data/"+name, data[name][:len(data[name])/2]) }, name)
		}
		if i > 0 && i < len(segs)-1 {
			fs := vfs.NewMem()
			data.restore(t, fs, "data")
			require.NoError(t, fs.Remove("data/"+name))
			found := verify(t, fs, "data").Findings
			require.NotEmpty(t, found)
			require.Equal(t, path.Base(name), found[0].File)
			require.Equal(t, "missing", found[0].Check)
			require.Greater(t, found[0].ToPosition, found[0].FromPosition)
			repaired(t, fs, "data", want, next, name+" missing")
		}
		idx := strings.TrimSuffix(name, ".seg") + ".idx"
		if i < len(segs)-1 {
			check(idx, 0, func(fs vfs.FS) { flip(t, fs, "data/"+idx, 5000) }, idx)
		}
	}
	check("ID", 0, func(fs vfs.FS) { flip(t, fs, "data/ID", 12) }, "ID")
	stray := "log/" + segment.Name{Position: 100, Generation: 3}.String()
	check("stray in the middle", 0, func(fs vfs.FS) { putFile(t, fs, "data/"+stray, []byte("not a segment")) }, stray)
	stray = "log/" + segment.Name{Position: 1 << 40}.String()
	check("stray at the end", 0, func(fs vfs.FS) { putFile(t, fs, "data/"+stray, []byte("not a segment")) }, stray)
}

func TestRepairTwiceAndManifest(t *testing.T) {
	fs := vfs.NewMem()
	smallLog(t, fs, "data")
	l := open(t, fs, "data", log.Options{ReadOnly: true})
	want, _ := contents(t, l)
	require.NoError(t, l.Close())
	putFile(t, fs, "data/state/CURRENT", []byte("derived"))
	names, err := fs.List("data/log")
	require.NoError(t, err)
	names = sorted(names)
	flip(t, fs, "data/log/"+names[1], 30000)
	if !strings.HasSuffix(names[1], ".seg") {
		t.Fatal(names)
	}
	_, r := repaired(t, fs, "data", want, nil, "first")
	require.Contains(t, r.MovedAside, "state")
	_, err = fs.Stat("data/damaged/state/CURRENT")
	require.NoError(t, err)

	l = open(t, fs, "data", log.Options{})
	want, _ = contents(t, l)
	tp, err := l.Topic("a")
	require.NoError(t, err)
	var gone []error
	for p := range int32(3) {
		for _, err := range tp.Partition(p).Read(log.Oldest) {
			if err != nil {
				gone = append(gone, err)
			}
		}
	}
	require.Len(t, gone, 1)
	require.ErrorIs(t, gone[0], log.ErrLost)
	require.Equal(t, r.Lost[0], gone[0])
	require.NoError(t, l.Close())

	for _, damage := range []func(){
		func() { flip(t, fs, "data/log/MANIFEST", 20) },
		func() { require.NoError(t, fs.Remove("data/log/MANIFEST")) },
	} {
		damage()
		_, err = log.Open("data", log.Options{FS: fs})
		require.ErrorIs(t, err, log.ErrCorrupt)
		found := verify(t, fs, "data").Findings
		require.Len(t, found, 1)
		require.Equal(t, segment.ManifestName, found[0].File)
		lost, _ := repaired(t, fs, "data", want, nil, "manifest")
		require.Zero(t, lost)
	}
}

func TestRepairNeedsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	l := open(t, nil, dir, log.Options{})
	_, err := log.Repair(ctx, dir, log.RepairOptions{})
	require.ErrorIs(t, err, log.ErrLocked)
	require.NoError(t, l.Close())
	r, err := log.Repair(ctx, dir, log.RepairOptions{})
	require.NoError(t, err)
	require.False(t, r.Changed)
	_, err = log.Repair(ctx, t.TempDir(), log.RepairOptions{})
	require.ErrorIs(t, err, log.ErrNoLog)
}

func TestRepairOnDisk(t *testing.T) {
	dir := t.TempDir()
	smallLog(t, nil, dir)
	l := open(t, nil, dir, log.Options{ReadOnly: true})
	want, _ := contents(t, l)
	require.NoError(t, l.Close())
	name := dir + "/log/" + segment.Name{}.String()
	flip(t, vfs.Default, name, 40000)
	lost, r := repaired(t, nil, dir, want, nexts(want, "a"), "on disk")
	require.Equal(t, 1, lost)
	require.Len(t, r.Lost, 1)
}

// TestRepairCrash ends the power after each change that a repair makes, and repairs again.
func TestRepairCrash(t *testing.T) {
	src := vfs.NewMem()
	smallLog(t, src, "data")
	l := open(t, src, "data", log.Options{ReadOnly: true})
	want, _ := contents(t, l)
	require.NoError(t, l.Close())
	putFile(t, src, "data/state/CURRENT", []byte("derived"))
	flip(t, src, "data/log/"+segment.Name{}.String(), 30000)
	data := takeImage(t, src, "data")
	for n := 1; ; n++ {
		require.Less(t, n, 500)
		fs := vfs.NewMem()
		data.restore(t, fs, "data")
		stop := &stopping{FS: fs, left: n}
		_, err := log.Repair(ctx, "data", log.RepairOptions{FS: stop})
		if err == nil {
			require.Greater(t, n, 5)
			break
		}
		require.ErrorIs(t, err, errStopped)
		lost, _ := repaired(t, fs, "data", want, nexts(want, "a"), fmt.Sprint("stopped at ", n))
		require.LessOrEqual(t, lost, 1)
	}
}

var errStopped = errors.New("stopped")

// stopping is a file system that takes left changes of names and then no more.
type stopping struct {
	vfs.FS
	left int
}

func (s *stopping) step() error {
	if s.left--; s.left < 0 {
		return errStopped
	}
	return nil
}

func (s *stopping) Rename(a, b string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.FS.Rename(a, b)
}

func (s *stopping) Link(a, b string) error {
	if err := s.step(); err != nil {
		return err
	}
	return s.FS.Link(a, b)
}

func (s *stopping) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	return s.FS.OpenReadWrite(name, c, o...)
}
