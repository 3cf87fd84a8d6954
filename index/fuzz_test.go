package index

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// reseal gives each block of data the check that its bytes call for.
func reseal(data []byte) {
	var salt uint64
	for at := 0; at+blockBytes <= len(data); at += blockBytes {
		b := (*block)(data[at : at+blockBytes])
		binary.LittleEndian.PutUint64(b[checkAt:], b.sum()^salt)
		if at == 0 {
			salt = b.check()
		}
	}
}

// FuzzFile asks everything of arbitrary bytes, as they are and with checks made right, so that
// the code behind the checks is reached too. What Verify accepts must write again, and then
// answer as before.
func FuzzFile(f *testing.F) {
	m, topics := small(f)
	f.Add(encoded(f, NewMemory()), uint32(0), int64(0), true)
	f.Add(encoded(f, m, topics...), uint32(1000), int64(77), true)
	one := NewMemory()
	require.NoError(f, one.Add(5, Entry{Offset: 3, Byte: 9, MaxTimestamp: -1, Count: 2, Bytes: 70}))
	f.Add(encoded(f, one), uint32(5), int64(4), false)
	f.Add([]byte{}, uint32(0), int64(0), false)
	f.Fuzz(func(t *testing.T, data []byte, partition uint32, at int64, sound bool) {
		data = append([]byte(nil), data...)
		if sound {
			reseal(data)
		}
		fs := vfs.NewMem()
		file, err := fs.Create("i.idx", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.Write(append([]byte(nil), data...))
		require.NoError(t, err)
		require.NoError(t, file.Close())
		x, err := Inspect(fs, "i.idx")
		if err != nil {
			requireKnown(t, err)
			return
		}
		interrogate(t, x, partition, at, len(data))
		if err := x.Verify(); err != nil {
			requireKnown(t, err)
			return
		}
		checkRewrite(t, x)
	})
}

func requireKnown(t *testing.T, err error) {
	var corrupt *CorruptError
	var format *FormatError
	if !errors.As(err, &corrupt) && !errors.As(err, &format) {
		require.NoError(t, err, "neither a CorruptError nor a FormatError")
	}
}

// interrogate calls all that reads. No answer may take longer than the file is long.
func interrogate(t *testing.T, x *File, partition uint32, at int64, size int) {
	check := func(err error) {
		if err != nil {
			requireKnown(t, err)
		}
	}
	_, _, err := x.Find(partition, at)
	check(err)
	_, _, err = x.FindTime(partition, at)
	check(err)
	_, _, err = x.Last(partition)
	check(err)
	_, err = x.BytesOf(partition)
	check(err)
	_, err = x.Partitions()
	check(err)
	_, err = x.TopicBytes()
	check(err)
	// Deltas may overlap in a bogus leaf: its rows bound the entries then.
	most := size / groupBytes * maxGroup
	n := 0
	check(x.Entries(func(uint32, Entry) bool { n++; return n <= most }))
	require.LessOrEqual(t, n, most)
	c := x.Scan(partition, at)
	for n = 0; n <= most; n++ {
		_, ok, err := c.Next()
		check(err)
		if !ok {
			break
		}
	}
	require.LessOrEqual(t, n, most)
}

// checkRewrite reads all of x, which Verify accepts, into a Memory, compares it with a model,
// and writes it: the answers must be the same. The bytes may differ, as entries can be grouped
// in other ways.
func checkRewrite(t *testing.T, x *File) {
	m, want := NewMemory(), model{}
	require.NoError(t, x.Entries(func(p uint32, e Entry) bool {
		require.NoError(t, m.Add(p, e))
		want.add(p, e)
		return true
	}))
	topics, err := x.TopicBytes()
	require.NoError(t, err)
	checkReader(t, want, x)
	fs := vfs.NewMem()
	require.NoError(t, Write(fs, "again.idx", x.Segment(), m, topics...))
	again, err := Open(fs, "again.idx", x.Segment())
	require.NoError(t, err)
	require.NoError(t, again.Verify())
	checkReader(t, want, again)
}
