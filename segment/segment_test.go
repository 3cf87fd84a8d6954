package segment_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

var testID = segment.LogID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const (
	testEpoch = 7
	testTime  = int64(1_700_000_000_000_000)
)

// file is a segment under test: it writes frames one behind the other.
type file struct {
	t    testing.TB
	fs   vfs.FS
	seg  *segment.Segment
	at   int64
	next uint64
}

// born makes an empty segment in "log" of a new file system.
func born(t testing.TB, fs vfs.FS) *file {
	t.Helper()
	require.NoError(t, fs.MkdirAll("log", 0o700))
	baby, err := segment.Make(fs, "log", segment.Birth{
		Head: segment.Head{LogID: testID, Name: segment.Name{Position: 40}, Created: testTime},
		Time: testTime, Epoch: testEpoch, Tables: []byte("tables"),
	}, nil)
	require.NoError(t, err)
	seg, err := baby.Publish()
	require.NoError(t, err)
	return &file{t: t, fs: fs, seg: seg, at: seg.Data(), next: 40}
}

// commit writes a frame with one batch of values for partition 3.
func (f *file) commit(durable int64, values ...string) {
	f.t.Helper()
	b := commitFrame(f.next, values...)
	segment.Complete(b, f.seg.Salt(), f.at, durable)
	require.NoError(f.t, f.seg.Write(b, f.at))
	f.at += int64(len(b))
	f.next += uint64(len(values))
}

func commitFrame(position uint64, values ...string) []byte {
	var b record.Builder
	b.SetPrefix(segment.FrameHeadBytes + segment.EntryHeadBytes)
	b.LeaderEpoch(testEpoch)
	for _, v := range values {
		b.Append(&record.Record{Value: []byte(v)}, 1_700_000_000_000)
	}
	frame := b.EncodedWithPrefix(false)
	batch := frame[segment.FrameHeadBytes+segment.EntryHeadBytes:]
	payload := xxhash.Sum64(batch[8:])
	record.PutBaseOffset(batch, int64(position)-40)
	binary.LittleEndian.PutUint32(frame[segment.FrameHeadBytes:], 3)
	for len(frame)%segment.FrameAlign != 0 {
		frame = append(frame, 0)
	}
	h := segment.FrameHead{Kind: segment.Commit, Length: uint32(len(frame)), Position: position, Time: testTime}
	h.Put(frame)
	h.Body = segment.BodyCheck(frame, payload)
	h.Put(frame)
	return frame
}

func (f *file) endMark(kind segment.Kind) {
	f.t.Helper()
	epoch := int32(testEpoch)
	if kind == segment.Recovered {
		epoch++
	}
	m := segment.Mark{Position: f.next, Time: testTime, Epoch: epoch}
	require.NoError(f.t, f.seg.Write(m.Encode(kind, f.seg.Salt(), f.at), f.at))
	f.at += segment.FrameHeadBytes
}

// content returns the bytes of the file.
func (f *file) content() []byte {
	f.t.Helper()
	b, err := segment.ReadFile(f.fs, "log/"+f.seg.Name().String())
	require.NoError(f.t, err)
	return b
}

// reopened opens a segment with the given bytes.
func reopened(t testing.TB, b []byte) *segment.Segment {
	t.Helper()
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("log", 0o700))
	name := segment.Name{Position: 40}
	require.NoError(t, segment.WriteFile(fs, "log", name.String(), b))
	seg, err := segment.Open(fs, "log", testID, name, true)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, seg.Close()) })
	return seg
}

func TestRecover(t *testing.T) {
	// The file holds three commits; the second says that the first was synced, the third that the
	// second was. first, second, third and end are where they begin, and the last ends.
	f := born(t, vfs.NewMem())
	first := f.at
	f.commit(first, "a", "b")
	second := f.at
	f.commit(second, "c")
	third := f.at
	f.commit(third, "d", "e", "f")
	end := f.at
	whole := f.content()
	marked := func(kind segment.Kind) []byte {
		f := born(t, vfs.NewMem())
		f.commit(first, "a", "b")
		f.endMark(kind)
		return f.content()
	}
	keep := func(b []byte) []byte { return b }
	flip := func(at int64) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 0x10; return b }
	}
	pad := func(n int) func([]byte) []byte {
		return func(b []byte) []byte { return append(b, make([]byte, n)...) }
	}
	for _, tc := range []struct {
		name   string
		file   []byte
		damage func([]byte) []byte
		next   uint64
		end    int64
		torn   bool
		err    *segment.CorruptError // File, Byte, Position and Check are compared; nil means success
	}{
		{"whole", whole, keep, 46, end, false, nil},
		{"zeros behind", whole, pad(5000), 46, end, false, nil},
		{"nothing but the catalog", whole[:first], keep, 40, first, false, nil},
		{"last commit cut short", whole[:end-1], keep, 43, third, true, nil},
		{"last commit cut within its head", whole[:third+20], keep, 43, third, true, nil},
		{"last commit cut to zeros", whole[:third+70], pad(1000), 43, third, true, nil},
		{"flip in the body of the last commit", whole, flip(end - 9), 43, third, true, nil},
		{"flip in the head of the last commit", whole, flip(third + 9), 43, third, true, nil},
		{"garbage behind", whole, func(b []byte) []byte { return append(b, "stranger"...) }, 46, end, true, nil},
		{"a commit that was synced elsewhere", whole, func(b []byte) []byte { return append(b, b[first:second]...) }, 46, end, true, nil},
		{"flip in the body of the first commit", whole, flip(second - 9), 0, 0, false,
			&segment.CorruptError{Byte: first, Position: 40, Check: "body"}},
		{"flip in the head of the first commit", whole, flip(first + 9), 0, 0, false,
			&segment.CorruptError{Byte: first, Position: 40, Check: "checksum"}},
		{"first commit zeroed", whole, func(b []byte) []byte { clear(b[first:second]); return b }, 0, 0, false,
			&segment.CorruptError{Byte: first, Position: 40, Check: "magic"}},
		{"flip in the second commit, which the third says is synced", whole, flip(second + 60), 0, 0, false,
			&segment.CorruptError{Byte: second, Position: 42, Check: "body"}},
		{"flip in the catalog", whole, flip(first - 3), 0, 0, false,
			&segment.CorruptError{Byte: segment.HeadBytes, Position: 40, Check: "body"}},
		{"flip in the segment head", whole, flip(20), 0, 0, false,
			&segment.CorruptError{Byte: 0, Position: 40, Check: "checksum"}},
		{"flip in the padding of the segment head", whole, flip(300), 0, 0, false,
			&segment.CorruptError{Byte: 0, Position: 40, Check: "checksum"}},
		{"empty file", nil, keep, 0, 0, false, &segment.CorruptError{Byte: 0, Position: 40, Check: "length"}},
		{"closed", marked(segment.Closing), keep, 42, second + 48, false, nil},
		{"closed, flip in the mark's time", marked(segment.Closing), flip(second + 16), 0, 0, false,
			&segment.CorruptError{Byte: second, Position: 42, Check: "mark"}},
		{"closed, flip in the mark's check", marked(segment.Closing), flip(second + 47), 0, 0, false,
			&segment.CorruptError{Byte: second, Position: 42, Check: "mark"}},
		{"closed, flip in the mark's kind", marked(segment.Closing), flip(second + 3), 0, 0, false,
			&segment.CorruptError{Byte: second, Position: 42, Check: "mark"}},
		{"closed, flip before the mark", marked(segment.Closing), flip(first + 70), 0, 0, false,
			&segment.CorruptError{Byte: first, Position: 40, Check: "body"}},
		{"idle mark cut short", marked(segment.Idle)[:second+30], keep, 42, second, true, nil},
		{"recovered mark", marked(segment.Recovered), keep, 42, second + 48, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			seg := reopened(t, tc.damage(bytes.Clone(tc.file)))
			got, err := seg.Recover(nil)
			if tc.err != nil {
				var c *segment.CorruptError
				require.ErrorAs(t, err, &c)
				require.ErrorIs(t, err, segment.ErrCorrupt)
				tc.err.File = seg.Name().String()
				c.Want, c.Got = 0, 0
				require.Equal(t, tc.err, c)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.next, got.Position)
			assert.Equal(t, tc.end, got.Byte)
			assert.Equal(t, tc.torn, got.Torn > 0)
		})
	}
}

// TestCutAtEveryByte cuts a file whose last commit nobody was promised at every byte of it.
func TestCutAtEveryByte(t *testing.T) {
	f := born(t, vfs.NewMem())
	first := f.at
	f.commit(first, "a", "b")
	last := f.at
	f.commit(last, "never synced", "and large", string(make([]byte, 3000)))
	whole := f.content()
	for cut := last; cut < int64(len(whole)); cut++ {
		for _, tail := range [][]byte{nil, make([]byte, int64(len(whole))-cut)} {
			b := append(bytes.Clone(whole[:cut]), tail...)
			if bytes.Equal(b, whole) {
				continue // only zeros were cut off
			}
			seg := reopened(t, b)
			got, err := seg.Recover(nil)
			require.NoError(t, err, "cut at %d", cut)
			require.Equal(t, uint64(42), got.Position, "cut at %d", cut)
			require.Equal(t, last, got.Byte, "cut at %d", cut)
		}
	}
}

// TestTornMark writes an end mark at every distance from a sector's end and leaves out one of the two
// sectors: this is torn, never damaged.
func TestTornMark(t *testing.T) {
	for length := range 64 {
		f := born(t, vfs.NewMem())
		f.commit(f.at, string(make([]byte, 300+8*length)))
		at := f.at
		f.endMark(segment.Idle)
		whole := f.content()
		split := (at + 511) &^ 511
		if split == at || split >= at+segment.FrameHeadBytes {
			continue
		}
		for _, garbage := range []byte{0, 0xa5} {
			for _, half := range [][2]int64{{at, split}, {split, at + segment.FrameHeadBytes}} {
				b := bytes.Clone(whole)
				for i := half[0]; i < half[1]; i++ {
					b[i] = garbage
				}
				got, err := reopened(t, b).Recover(nil)
				require.NoError(t, err, "mark at %d without [%d, %d)", at, half[0], half[1])
				require.Equal(t, at, got.Byte)
			}
		}
	}
}

// TestMarkFlips flips every bit of every kind of mark: each is found.
func TestMarkFlips(t *testing.T) {
	for _, kind := range []segment.Kind{segment.Idle, segment.Closing, segment.Sealing, segment.Recovered} {
		f := born(t, vfs.NewMem())
		f.commit(f.at, "x")
		at := f.at
		f.endMark(kind)
		whole := f.content()
		for i := at; i < at+segment.FrameHeadBytes; i++ {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				_, err := reopened(t, b).Recover(nil)
				require.ErrorIs(t, err, segment.ErrCorrupt, "%v: bit %d of byte %d", kind, bit, i-at)
			}
		}
	}
}

func TestScanner(t *testing.T) {
	f := born(t, vfs.NewMem())
	var starts []int64
	for i := range 100 {
		starts = append(starts, f.at)
		f.commit(f.at, string(make([]byte, 100*i)))
	}
	sc := f.seg.Scan(f.seg.Data(), f.at)
	var fr segment.Frame
	for i := range 100 {
		require.NoError(t, sc.Next(&fr))
		require.Equal(t, starts[i], fr.At)
		require.Equal(t, uint64(40+i), fr.Position)
		r, e := segment.NewEntryReader(&fr), segment.Entry{}
		require.True(t, r.Next(&e))
		require.Equal(t, uint32(3), e.Partition)
		require.Equal(t, int64(i), e.Head.BaseOffset)
		require.False(t, r.Next(&e))
	}
	require.ErrorIs(t, sc.Next(&fr), io.EOF)

	// Behind damage of a head, and of a body, it finds the next frame.
	for _, at := range []int64{starts[50] + 8, starts[50] + 90} {
		b := f.content()
		b[at] ^= 1
		seg := reopened(t, b)
		sc := seg.Scan(starts[50], int64(len(b)))
		err := sc.Next(&fr)
		var c *segment.CorruptError
		require.ErrorAs(t, err, &c)
		require.Equal(t, starts[50], c.Byte)
		require.NoError(t, sc.Resync())
		require.NoError(t, sc.Next(&fr))
		require.Equal(t, starts[51], fr.At)
	}
}

// TestReadFrame reads single frames, and does not believe a limit in the middle of one.
func TestReadFrame(t *testing.T) {
	f := born(t, vfs.NewMem())
	small := f.at
	f.commit(f.at, "small")
	large := f.at
	f.commit(f.at, string(make([]byte, 100_000)))
	for _, at := range []int64{small, large} {
		fr, err := f.seg.ReadFrame(nil, at, f.at)
		require.NoError(t, err)
		require.Equal(t, at, fr.At)
		_, err = f.seg.ReadFrame(nil, at, fr.End()-1)
		require.ErrorIs(t, err, segment.ErrCorrupt)
	}
	_, err := f.seg.ReadFrame(nil, f.at, f.at+100)
	require.ErrorIs(t, err, segment.ErrCorrupt)
}

func TestNewerVersion(t *testing.T) {
	f := born(t, vfs.NewMem())
	b := f.content()
	binary.LittleEndian.PutUint32(b[8:], 2)
	binary.LittleEndian.PutUint64(b[504:], xxhash.Sum64(b[:504]))
	_, err := reopened(t, b).Recover(nil)
	var v *segment.FormatError
	require.ErrorAs(t, err, &v)
	require.ErrorIs(t, err, segment.ErrFormat)
	require.False(t, errors.Is(err, segment.ErrCorrupt))
	require.Equal(t, uint32(2), v.Version)
}

func TestPublishNeverReplaces(t *testing.T) {
	fs := vfs.NewMem()
	f := born(t, fs)
	before := f.content()
	baby, err := segment.Make(fs, "log", segment.Birth{Head: segment.Head{LogID: testID, Name: segment.Name{Position: 40}}}, nil)
	require.NoError(t, err)
	_, err = baby.Publish()
	require.Error(t, err)
	require.Equal(t, before, f.content())
}

func TestManifest(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("log", 0o700))
	m, err := segment.ReadManifest(fs, "log")
	require.NoError(t, err)
	require.Nil(t, m)
	want := &segment.Manifest{LogID: testID, Number: 3, Segments: []segment.Ref{
		{LogID: testID, Name: segment.Name{Position: 0, Generation: 1}, EndPosition: 10, EndByte: 1000},
		{LogID: segment.LogID{9}, Name: segment.Name{Position: 12}, EndPosition: 20, EndByte: 2000},
	}}
	require.NoError(t, segment.WriteManifest(fs, "log", want))
	got, err := segment.ReadManifest(fs, "log")
	require.NoError(t, err)
	require.Equal(t, want, got)

	b, err := segment.ReadFile(fs, "log/MANIFEST")
	require.NoError(t, err)
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		require.NoError(t, segment.WriteFile(fs, "log", "MANIFEST", c))
		_, err := segment.ReadManifest(fs, "log")
		require.ErrorIs(t, err, segment.ErrCorrupt, "byte %d", i)
		require.NoError(t, segment.WriteFile(fs, "log", "MANIFEST", b[:i]))
		_, err = segment.ReadManifest(fs, "log")
		require.ErrorIs(t, err, segment.ErrCorrupt, "cut at %d", i)
	}
}

func TestNames(t *testing.T) {
	n := segment.Name{Position: 1<<64 - 1, Generation: 999999}
	require.Equal(t, "18446744073709551615-999999.seg", n.String())
	got, ok := segment.ParseName(n.String())
	require.True(t, ok)
	require.Equal(t, n, got)
	for _, bad := range []string{"", "x.seg", "1-1.seg", "00000000000000000001.seg", "00000000000000000001-000001.idx",
		"0000000000000000000+-000001.seg", "00000000000000000001-00000001.seg", "99999999999999999999-000001.seg"} {
		_, ok := segment.ParseName(bad)
		require.False(t, ok, bad)
	}
	require.Equal(t, uint32(3), segment.NextGeneration([]segment.Name{{Position: 5, Generation: 2}, {Position: 6, Generation: 9}}, nil, 5))
	require.Zero(t, segment.NextGeneration(nil, nil, 5))
}

func TestPrepared(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("log", 0o700))
	p, err := segment.Prepare(fs, "log", 1, 1<<20)
	require.NoError(t, err)
	steps := 0
	for ready := false; !ready; steps++ {
		require.False(t, p.Ready())
		ready, err = p.Step(100 << 10)
		require.NoError(t, err)
	}
	require.Equal(t, 11, steps)
	baby, err := segment.Make(fs, "log", segment.Birth{Head: segment.Head{LogID: testID, Name: segment.Name{}}}, p)
	require.NoError(t, err)
	seg, err := baby.Publish()
	require.NoError(t, err)
	size, err := seg.Size()
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), size)
	end, err := seg.Recover(nil)
	require.NoError(t, err)
	require.Zero(t, end.Torn)
	names, err := fs.List("log")
	require.NoError(t, err)
	require.Equal(t, []string{seg.Name().String()}, names)
}

// TestPaddingFlips flips every bit of the padding behind the batches of commits that were synced.
func TestPaddingFlips(t *testing.T) {
	flipped := 0
	for size := range 16 {
		f := born(t, vfs.NewMem())
		from := f.at
		frame := commitFrame(40, strings.Repeat("x", size))
		h, err := record.ParseHead(frame[segment.FrameHeadBytes+segment.EntryHeadBytes:])
		require.NoError(t, err)
		used := segment.FrameHeadBytes + segment.EntryHeadBytes + h.Bytes()
		f.commit(f.at, strings.Repeat("x", size))
		to := f.at
		f.endMark(segment.Closing)
		whole := f.content()
		for i := from + int64(used); i < to; i++ {
			for bit := range 8 {
				b := bytes.Clone(whole)
				require.Zero(t, b[i])
				b[i] ^= 1 << bit
				_, err := reopened(t, b).Recover(nil)
				var corrupt *segment.CorruptError
				require.ErrorAs(t, err, &corrupt, "size %d: bit %d of byte %d", size, bit, i)
				require.Equal(t, from, corrupt.Byte)
				flipped++
			}
		}
	}
	require.Greater(t, flipped, 100)
}
