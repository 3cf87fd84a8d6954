package log_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// kindTally counts the records of each topic of a kind.
type kindTally struct{ kind string }

func (v kindTally) Name() string     { return "kinds" }
func (v kindTally) Topics() []string { return nil }
func (v kindTally) Kinds() []string  { return []string{v.kind} }

func (v kindTally) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		b := &c.Batches[i]
		if b.Kind != v.kind {
			continue
		}
		old, err := tx.Get([]byte(b.Topic))
		if err != nil {
			return err
		}
		tx.Set([]byte(b.Topic), append(bytes.Clone(old), bytes.Repeat([]byte("."), b.Count)...))
	}
	return nil
}

// TestKindView derives a view from topics of a kind: those before its registration and those after it,
// beside others, and once more when its state is gone.
func TestKindView(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
	appendTo := func(topic, kind string, n int) {
		tp, err := l.CreateTopic(ctx, topic, log.TopicOptions{Partitions: 2, Kind: kind})
		require.NoError(t, err)
		for i := range n {
			c := l.NewCommit()
			c.AppendAs(kind, tp.Partition(int32(i%2)), log.Record{Value: bytes.Repeat([]byte("x"), 10_000)})
			_, err := c.Commit(ctx)
			require.NoError(t, err)
		}
	}
	appendTo("early", "queue", 7)
	appendTo("plain", "", 5)
	h, err := l.Register(ctx, kindTally{"queue"})
	require.NoError(t, err)
	appendTo("late", "queue", 6)
	appendTo("other", "events", 4)
	appendTo("early", "queue", 2)
	want := "early=.........\nlate=......\n"
	require.Equal(t, want, viewDump(t, h))
	require.NoError(t, l.Close())

	for _, state := range []string{"kept", "deleted"} {
		if state == "deleted" {
			require.NoError(t, fs.RemoveAll("data/state"))
		}
		l = open(t, fs, "data", log.Options{SegmentBytes: 64 << 10})
		_, err = l.Register(ctx, kindTally{"events"})
		var mismatch *log.MismatchError
		require.ErrorAs(t, err, &mismatch)
		require.Equal(t, log.MismatchError{Name: "kinds", Field: "kinds", Have: "queue", Want: "events"}, *mismatch)
		h, err = l.Register(ctx, kindTally{"queue"})
		require.NoError(t, err)
		require.Equal(t, want, viewDump(t, h), state)
		require.NoError(t, l.Close())
	}
}

// TestKind keeps what belongs to a layer from everybody else, also after opening again.
func TestKind(t *testing.T) {
	fs := vfs.NewMem()
	l := open(t, fs, "data", log.Options{})
	for _, options := range []log.TopicOptions{{Kind: "queue", Partitions: 3}, {}} {
		name := "plain"
		if options.Kind != "" {
			name = "jobs"
		}
		_, err := l.CreateTopic(ctx, name, options)
		require.NoError(t, err)
	}
	_, err := l.CreateTopic(ctx, "bad", log.TopicOptions{Kind: "no spaces"})
	require.ErrorIs(t, err, log.ErrName)
	require.NoError(t, l.Close())

	l = open(t, fs, "data", log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	jobs, err := l.Topic("jobs")
	require.NoError(t, err)
	require.Equal(t, "queue", jobs.Info().Kind)
	_, err = l.CreateTopic(ctx, "jobs", log.TopicOptions{Partitions: 3})
	require.ErrorIs(t, err, log.ErrMismatch)
	plain, err := l.Topic("plain")
	require.NoError(t, err)

	refused := func(err error, topic, kind string) {
		t.Helper()
		var e *log.KindError
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, log.ErrKind)
		require.Equal(t, log.KindError{Topic: topic, Kind: kind}, *e)
	}
	_, err = jobs.Append(ctx, log.Record{Value: []byte("x")})
	refused(err, "jobs", "queue")
	c := l.NewCommit()
	c.AppendAs("events", jobs.Partition(0), log.Record{})
	_, err = c.Commit(ctx)
	refused(err, "jobs", "queue")
	c = l.NewCommit()
	c.AppendAs("queue", plain.Partition(0), log.Record{})
	_, err = c.Commit(ctx)
	refused(err, "plain", "")
	refused(l.DeleteTopic(ctx, "jobs"), "jobs", "queue")
	refused(l.DeleteTopicAs(ctx, "queue", "plain"), "plain", "")
	refused(l.AlterTopic(ctx, "jobs", log.TopicOptions{Partitions: 4}), "jobs", "queue")

	// One commit may hold records of a layer and others.
	c = l.NewCommit()
	c.AppendAs("queue", jobs.Place([]byte("k")), log.Record{Key: []byte("k"), Value: []byte("job")})
	c.Append(plain, log.Record{Value: []byte("note")})
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"job"}, values(t, l, "jobs"))
	require.Equal(t, []string{"note"}, values(t, l, "plain"))
	require.NoError(t, l.DeleteTopicAs(ctx, "queue", "jobs"))
	_, err = l.Topic("jobs")
	require.ErrorIs(t, err, log.ErrNoTopic)
}

// TestPlace says where Append puts a record.
func TestPlace(t *testing.T) {
	l := open(t, nil, t.TempDir(), log.Options{})
	defer func() { require.NoError(t, l.Close()) }()
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{Partitions: 7, Partitioner: log.FNV1a})
	require.NoError(t, err)
	for i := range 50 {
		key := fmt.Append(nil, "key-", i)
		r, err := tp.Append(ctx, log.Record{Key: key})
		require.NoError(t, err)
		require.Equal(t, r.Partition, tp.Place(key).Index())
	}
}
