package log_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// TestNames follows topics that are created, grown and deleted through the frames of a segment, as a tool
// does that reads the files.
func TestNames(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	orders, err := l.CreateTopic(ctx, "orders", log.TopicOptions{Partitions: 2})
	require.NoError(t, err)
	mails, err := l.CreateTopic(ctx, "mails", log.TopicOptions{})
	require.NoError(t, err)
	_, err = mails.Append(ctx, log.Record{Value: []byte("not a change of topics")})
	require.NoError(t, err)
	require.NoError(t, l.AlterTopic(ctx, "orders", log.TopicOptions{Partitions: 3}))
	require.NoError(t, l.DeleteTopic(ctx, "mails"))
	require.NoError(t, l.Close())
	require.Equal(t, 3, orders.Partitions())

	name := segment.Name{}
	id, err := segment.PeekID(fs, "data/log", name)
	require.NoError(t, err)
	seg, err := segment.Open(fs, "data/log", id, name, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, seg.Close()) }()

	names := log.NewNames()
	_, _, known := names.Partition(0)
	require.False(t, known)
	catalog, err := seg.Catalog()
	require.NoError(t, err)
	require.NoError(t, names.Follow(&catalog))
	topic, index, known := names.Partition(0)
	require.True(t, known)
	require.Equal(t, log.SystemPrefix+"topics", topic)
	require.Zero(t, index)

	var mailsWas []bool
	_, err = seg.Recover(func(f *segment.Frame) error {
		err := names.Follow(f)
		_, _, known := names.Partition(3)
		mailsWas = append(mailsWas, known)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, []bool{false, true, true, true, false}, mailsWas[:5], "created by the second commit, deleted by the fifth")
	for number, want := range map[uint32]int32{1: 0, 2: 1, 4: 2} {
		topic, index, known := names.Partition(number)
		require.True(t, known)
		require.Equal(t, "orders", topic)
		require.Equal(t, want, index)
	}
}

// TestCompress checks that a commit's own compression is used in place of the topic's.
func TestCompress(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "t", log.TopicOptions{Compression: record.Gzip})
	require.NoError(t, err)
	own := record.Zstd
	plain := record.None
	for _, codec := range []*record.Codec{nil, &own, &plain} {
		c := l.NewCommit()
		if codec != nil {
			c.Compress(*codec)
		}
		c.Append(tp, log.Record{Value: make([]byte, 1000)})
		_, err := c.Commit(ctx)
		require.NoError(t, err)
	}
	var codecs []record.Codec
	for b, err := range tp.Partition(0).ReadBatches(log.Oldest) {
		require.NoError(t, err)
		codecs = append(codecs, b.Head.Codec())
	}
	require.Equal(t, []record.Codec{record.Gzip, record.Zstd, record.None}, codecs)

	c := l.NewCommit()
	c.Compress(record.LZ4)
	c.Append(tp, log.Record{})
	_, err = c.Commit(ctx)
	require.ErrorIs(t, err, log.ErrOptions)
}
