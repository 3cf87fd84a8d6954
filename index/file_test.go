package index

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// small is an index with every kind of block: leaves, a root above them, topics.
func small(t require.TestingT) (*Memory, []TopicBytes) {
	m := NewMemory()
	byt := int64(4096)
	for i := range int64(900) {
		require.NoError(t, m.Add(uint32(i%3)*1000, Entry{
			Offset: i / 3 * 2, Byte: byt, MaxTimestamp: 1_700_000_000_000 + i*7%90, Count: 2, Bytes: 300,
		}))
		byt += 356
	}
	return m, []TopicBytes{{Topic: [16]byte{9}, Bytes: 180_000}, {Topic: [16]byte{2}, Bytes: 90_000}}
}

func encoded(t require.TestingT, m *Memory, topics ...TopicBytes) []byte {
	fs := vfs.NewMem()
	require.NoError(t, Write(fs, "i.idx", testSegment, m, topics...))
	return contents(t, fs, "i.idx")
}

func contents(t require.TestingT, fs vfs.FS, path string) []byte {
	f, err := fs.Open(path)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	data := make([]byte, info.Size())
	_, err = f.ReadAt(data, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return data
}

// opened opens data as a file.
func opened(t require.TestingT, data []byte) (*File, error) {
	fs := vfs.NewMem()
	f, err := fs.Create("i.idx", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(append([]byte(nil), data...))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return Open(fs, "i.idx", testSegment)
}

func TestOpenMismatch(t *testing.T) {
	m, _ := small(t)
	fs := vfs.NewMem()
	require.NoError(t, Write(fs, "i.idx", testSegment, m))
	for _, tc := range []struct {
		field, have, want string
		edit              func(*SegmentID)
	}{
		{"log", "0102030405060708090a0b0c0d0e0f10", "6302030405060708090a0b0c0d0e0f10", func(s *SegmentID) { s.LogID[0] = 99 }},
		{"name", "00000000000000000042-1.seg", "00000000000000000042-2.seg", func(s *SegmentID) { s.Name = "00000000000000000042-2.seg" }},
		{"end byte", "9223372036854775807", "5", func(s *SegmentID) { s.EndByte = 5 }},
		{"end position", "1099511627776", "6", func(s *SegmentID) { s.EndPosition = 6 }},
	} {
		want := testSegment
		tc.edit(&want)
		_, err := Open(fs, "i.idx", want)
		require.ErrorIs(t, err, ErrMismatch)
		var mismatch *MismatchError
		require.ErrorAs(t, err, &mismatch)
		assert.Equal(t, MismatchError{File: "i.idx", Field: tc.field, Have: tc.have, Want: tc.want}, *mismatch)
		assert.NotErrorIs(t, err, ErrCorrupt)
	}
	f, err := Inspect(fs, "i.idx")
	require.NoError(t, err)
	assert.Equal(t, testSegment, f.Segment())
	require.NoError(t, f.Close())
}

func TestOpenNewerVersion(t *testing.T) {
	m, _ := small(t)
	data := encoded(t, m)
	data[4] = 2
	_, err := opened(t, data)
	require.ErrorIs(t, err, ErrCorrupt, "a version whose head does not check is damage")
	b := (*block)(data)
	binary.LittleEndian.PutUint64(data[checkAt:], b.sum())
	_, err = opened(t, data)
	require.ErrorIs(t, err, ErrFormat)
	var format *FormatError
	require.ErrorAs(t, err, &format)
	assert.Equal(t, FormatError{File: "i.idx", Version: 2}, *format)
}

func TestOpenMissing(t *testing.T) {
	_, err := Open(vfs.NewMem(), "i.idx", testSegment)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.NotErrorIs(t, err, ErrCorrupt)
}

func TestTruncation(t *testing.T) {
	m, topics := small(t)
	data := encoded(t, m, topics...)
	step := 1
	if testing.Short() {
		step = 97
	}
	for n := 0; n < len(data); n += step {
		_, err := opened(t, data[:n])
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, "%d bytes", n)
		require.Equal(t, "length", corrupt.Check)
		require.Equal(t, int64(n), corrupt.Byte)
	}
	_, err := opened(t, append(data, 0))
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	assert.Equal(t, CorruptError{File: "i.idx", Byte: int64(len(data)), Check: "length",
		Want: uint64(len(data)), Got: uint64(len(data) + 1)}, *corrupt)
}

// TestFlips changes each byte in turn. Verify must notice, and say in which block; a lookup
// errs, or does not read that block and answers as before.
func TestFlips(t *testing.T) {
	m, topics := small(t)
	data := encoded(t, m, topics...)
	file, err := vfs.NewMem().Create("i.idx", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = file.Write(append([]byte(nil), data...))
	require.NoError(t, err)
	f, err := opened(t, data)
	require.NoError(t, err)
	f.file = &patched{File: file}
	step := 1
	if testing.Short() {
		step = 37
	}
	for at := 0; at < len(data); at += step {
		f.file.(*patched).at = at
		err := f.Verify()
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, "byte %d", at)
		require.Equal(t, at/blockBytes, int(corrupt.Byte)/blockBytes, "byte %d: %v", at, err)

		for _, p := range []uint32{0, 2000} {
			o := int64(at) % 600
			want, wantOK, _ := m.Find(p, o)
			got, ok, err := f.Find(p, o)
			if err != nil {
				require.ErrorIs(t, err, ErrCorrupt)
				continue
			}
			require.Equal(t, want, got, "byte %d", at)
			require.Equal(t, wantOK, ok)
		}
	}
	for at := range blockBytes {
		damaged := append([]byte(nil), data...)
		damaged[at] ^= 0x40
		_, err := opened(t, damaged)
		require.ErrorIs(t, err, ErrCorrupt, "byte %d", at)
	}
}

// patched shows one byte of its file changed.
type patched struct {
	vfs.File
	at int
}

func (p *patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.File.ReadAt(b, off)
	if i := int64(p.at) - off; i >= 0 && i < int64(n) {
		b[i] ^= 0x10
	}
	return n, err
}

func TestSwappedBlocks(t *testing.T) {
	m, topics := small(t)
	data := encoded(t, m, topics...)
	t.Run("of one file", func(t *testing.T) {
		swapped := append([]byte(nil), data...)
		copy(swapped[blockBytes:], data[2*blockBytes:3*blockBytes])
		f, err := opened(t, swapped)
		require.NoError(t, err)
		var corrupt *CorruptError
		require.ErrorAs(t, f.Verify(), &corrupt)
		assert.Equal(t, CorruptError{File: "i.idx", Byte: blockBytes + 4, Check: "block", Want: 1, Got: 2}, *corrupt)
	})
	t.Run("of another file", func(t *testing.T) {
		require.NoError(t, m.Add(0, Entry{Offset: 1 << 30, Byte: 1 << 30, Count: 1}))
		other := encoded(t, m, topics...)
		require.Len(t, other, len(data))
		copy(other[blockBytes:], data[blockBytes:2*blockBytes])
		f, err := opened(t, other)
		require.NoError(t, err)
		var corrupt *CorruptError
		require.ErrorAs(t, f.Verify(), &corrupt)
		assert.Equal(t, "checksum", corrupt.Check)
		assert.Equal(t, int64(blockBytes), corrupt.Byte)
	})
}

func TestTopicBytes(t *testing.T) {
	var topics []TopicBytes
	for i := range 400 { // more than two blocks
		var id [16]byte
		binary.BigEndian.PutUint32(id[:], uint32(i))
		topics = append(topics, TopicBytes{Topic: id, Bytes: int64(i) << 30})
	}
	reversed := make([]TopicBytes, len(topics))
	for i, tb := range topics {
		reversed[len(topics)-1-i] = tb
	}
	f := written(t, NewMemory(), reversed...)
	got, err := f.TopicBytes()
	require.NoError(t, err)
	assert.Equal(t, topics, got)
	require.NoError(t, f.Verify())
}

func TestClosed(t *testing.T) {
	m, topics := small(t)
	f := written(t, m, topics...)
	c := f.Scan(1000, 0) // a run that goes on in the second leaf
	_, ok, err := c.Next()
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, _, err = f.Find(0, 0)
	assert.ErrorIs(t, err, ErrClosed)
	_, err = f.TopicBytes()
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorIs(t, f.Verify(), ErrClosed)
	for range 1000 { // what the cursor has read it may still give
		if _, ok, err = c.Next(); !ok {
			break
		}
	}
	assert.ErrorIs(t, err, ErrClosed)
	_, _, again := c.Next()
	assert.Equal(t, err, again)
}

var errInjected = errors.New("injected")

// failing is fs but for operation i, counted from 0, which fails.
func failing(fs vfs.FS, i int32) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(errorfs.Op) error {
		i--
		if i == -1 {
			return errInjected
		}
		return nil
	}))
}

// TestReadErrors fails each read in turn: the error must come out, and not as corruption.
func TestReadErrors(t *testing.T) {
	m, topics := small(t)
	base := vfs.NewMem()
	require.NoError(t, Write(base, "i.idx", testSegment, m, topics...))
	for i := int32(0); ; i++ {
		err := func() error {
			f, err := Open(failing(base, i), "i.idx", testSegment)
			if err != nil {
				return err
			}
			_, _, err = f.Find(1000, 77)
			_, _, err2 := f.FindTime(1000, math.MinInt64)
			_, err3 := f.Partitions()
			return errors.Join(err, err2, err3, f.Verify(), f.Close())
		}()
		if err == nil {
			require.Greater(t, i, int32(10))
			return
		}
		require.ErrorIs(t, err, errInjected, "operation %d", i)
		require.NotErrorIs(t, err, ErrCorrupt, "operation %d", i)
	}
}

// TestKeptNodes shows that inner nodes are read once, that a file gives back what it keeps, and that more
// than the bound is not kept.
func TestKeptNodes(t *testing.T) {
	m := NewMemory()
	for i := range int64(200_000) {
		require.NoError(t, m.Add(uint32(i%1000), Entry{Offset: i / 1000, Byte: i * 64, Count: 1, Bytes: 50}))
	}
	for i := range leaves {
		leaves[i].Store(nil) // those of other tests' files would be displaced by and by only
	}
	before := keptBlocks.Load()
	f, err := opened(t, encoded(t, m))
	require.NoError(t, err)
	counted := &counting{File: f.file}
	f.file = counted
	require.Greater(t, f.head.height, uint8(1))
	lookup := func() {
		for p := range uint32(1000) {
			want, _, _ := m.Find(p, 77)
			got, ok, err := f.Find(p, 77)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
	}
	lookup()
	kept := f.kept.Load()
	require.Equal(t, int64(f.head.nodes-f.head.leaves), kept)
	require.Equal(t, before+kept, keptBlocks.Load())
	counted.reads.Store(0)
	lookup()
	require.Zero(t, counted.reads.Load(), "leaves are kept")
	require.NoError(t, f.Verify())
	counted.reads.Store(0)
	lookup()
	require.Positive(t, counted.reads.Load(), "what was verified is read again")
	require.NoError(t, f.Close())
	require.Equal(t, before, keptBlocks.Load())
	_, _, err = f.Find(0, 77)
	require.ErrorIs(t, err, ErrClosed, "what is kept is not that of an open file")

	keptBlocks.Add(keptAtAll)
	defer keptBlocks.Add(-keptAtAll)
	f, err = opened(t, encoded(t, m))
	require.NoError(t, err)
	lookup()
	require.Zero(t, f.kept.Load())
	require.NoError(t, f.Close())
}

// TestLeavesDisplaceEachOther looks up in two files whose leaves have the same places among those that are
// kept: each finds its own, and in time the one that is used displaces the other.
func TestLeavesDisplaceEachOther(t *testing.T) {
	open := func(first int64) (*File, *counting) {
		m := NewMemory()
		for i := range int64(20_000) {
			require.NoError(t, m.Add(7, Entry{Offset: first + i, Byte: i * 64, Count: 1, Bytes: 50}))
		}
		leafIDs.Store((leafIDs.Load()/keptLeaves + 1) * keptLeaves)
		f, err := opened(t, encoded(t, m))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		require.Less(t, f.head.leaves, uint32(keptLeaves))
		counted := &counting{File: f.file}
		f.file = counted
		return f, counted
	}
	find := func(f *File, offset int64) {
		e, ok, err := f.Find(7, offset)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, offset, e.Offset)
	}
	one, oneReads := open(0)
	other, otherReads := open(1_000_000)
	find(one, 15_000)
	find(other, 1_015_000)
	for range 8 {
		find(other, 1_015_000)
	}
	oneReads.reads.Store(0)
	otherReads.reads.Store(0)
	find(other, 1_015_000)
	find(one, 15_000)
	require.Zero(t, otherReads.reads.Load())
	require.EqualValues(t, 1, oneReads.reads.Load())
}

// counting counts reads.
type counting struct {
	vfs.File
	reads atomic.Int64
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	c.reads.Add(1)
	return c.File.ReadAt(b, at)
}
