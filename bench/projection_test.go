package bench_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// gateCatchUp is what a projection into Pebble makes of events a second, with a handler that updates one key for each,
// against the same updates in indexed batches of Pebble by itself, without a log to read, events to decode or a
// checkpoint to keep. It was 2.9 when this was set, 1.5 to 2.2 with -short, and such batches made 340,000 updates a second
// there: 200,000 events a second are 0.6.
const gateCatchUp = 1.0

// TestGateCatchUp builds models of events in streams of ten, each time in a new store, on the real file system.
func TestGateCatchUp(t *testing.T) {
	events := 200_000
	if testing.Short() {
		events = 50_000
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	l := open(t, t.TempDir(), unsynced(log.Written))
	names := appendEvents(t, l, events)
	model := 0
	perSecond := func(began time.Time) float64 { return float64(events) / time.Since(began).Seconds() }
	best := 0.0
	bestGate(t, gateCatchUp, func() float64 {
		model++
		began := time.Now()
		store, err := projection.OpenPebble(t.TempDir(), projection.PebbleOptions{Logger: quiet})
		require.NoError(t, err)
		m, err := projection.NewModel(ctx, l, store, projection.Define(fmt.Sprint("counts", model), 1, projection.Options{}, countStream))
		require.NoError(t, err)
		require.NoError(t, m.CatchUp(ctx))
		require.EqualValues(t, events, m.Progress().Events)
		require.NoError(t, store.Close())
		rate := perSecond(began)
		best = max(best, rate)
		return rate
	}, func() float64 {
		began := time.Now()
		db, err := pebble.Open(t.TempDir(), &pebble.Options{DisableWAL: true, MemTableSize: 16 << 20, Logger: discard{}})
		require.NoError(t, err)
		countBare(t, db, names)
		require.NoError(t, db.Close())
		return perSecond(began)
	})
	t.Logf("%.0f events/s", best)
}

// discard takes what Pebble logs.
type discard struct{}

func (discard) Infof(string, ...any)              {}
func (discard) Errorf(string, ...any)             {}
func (discard) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// appendEvents appends events in streams of ten, and returns the stream of each.
func appendEvents(t *testing.T, l *log.Log, events int) (names []string) {
	t.Helper()
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	require.NoError(t, err)
	for len(names) < events {
		var batch aggregate.Batch
		for range 100 {
			a := aggregate.Append{Stream: fmt.Sprintf("account-%07d", len(names)/10), Expected: aggregate.Any}
			for range 10 {
				a.Events = append(a.Events, aggregate.Event{Type: "added", Data: []byte(`{"amount":17,"by":"somebody"}`)})
				names = append(names, a.Stream)
			}
			batch.Appends = append(batch.Appends, a)
		}
		_, err := s.Commit(ctx, batch)
		require.NoError(t, err)
	}
	require.Len(t, names, events)
	require.NoError(t, l.Sync(ctx))
	return names
}

// countStream counts the events of each stream.
func countStream(tx *projection.Tx, e *projection.Event) error {
	v, _, err := tx.Get(e.Stream)
	if err != nil {
		return err
	}
	tx.Set(e.Stream, oneMore(v))
	return nil
}

func oneMore(v []byte) []byte {
	n := uint64(0)
	if len(v) == 8 {
		n = binary.BigEndian.Uint64(v)
	}
	return binary.BigEndian.AppendUint64(nil, n+1)
}

// countBare makes the updates of countStream in batches of 1,000, and flushes.
func countBare(t *testing.T, db *pebble.DB, names []string) {
	t.Helper()
	for from := 0; from < len(names); from += 1000 {
		b := db.NewIndexedBatch()
		for _, name := range names[from:min(from+1000, len(names))] {
			v, closer, err := b.Get([]byte(name))
			if err != nil {
				require.True(t, errors.Is(err, pebble.ErrNotFound))
				require.NoError(t, b.Set([]byte(name), oneMore(nil), nil))
				continue
			}
			next := oneMore(v)
			require.NoError(t, closer.Close())
			require.NoError(t, b.Set([]byte(name), next, nil))
		}
		require.NoError(t, b.Commit(pebble.NoSync))
	}
	require.NoError(t, db.Flush())
}
