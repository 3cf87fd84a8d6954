package projection_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// counter updates one key an event.
func counter(tx *projection.Tx, e *projection.Event) error {
	v, ok, err := tx.Get(e.Stream)
	if err != nil {
		return err
	}
	n := [8]byte{}
	if ok {
		copy(n[:], v)
	}
	binary.BigEndian.PutUint64(n[:], binary.BigEndian.Uint64(n[:])+1)
	tx.Set(e.Stream, n[:])
	return nil
}

// BenchmarkCatchUp builds models of 200,000 events in streams of ten events and in a hundred streams, into
// Pebble on the real file system.
func BenchmarkCatchUp(b *testing.B) {
	const events = 200_000
	for _, streams := range []int{100, events / 10} {
		l, err := log.Open(b.TempDir(), log.Options{})
		require.NoError(b, err)
		s, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
		require.NoError(b, err)
		for i := 0; i < events; {
			var batch aggregate.Batch
			for range 200 {
				name := fmt.Sprintf("account-%07d", (i/10)%streams)
				a := aggregate.Append{Stream: name, Expected: aggregate.Any}
				for range 10 {
					a.Events = append(a.Events, aggregate.Event{Type: "added", Data: []byte(`{"amount":17,"by":"somebody"}`)})
				}
				if i += 10; i <= events {
					batch.Appends = append(batch.Appends, a)
				}
			}
			_, err := s.Commit(ctx, batch)
			require.NoError(b, err)
		}
		b.Run(fmt.Sprintf("streams=%d", streams), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				store, err := projection.OpenPebble(b.TempDir(), projection.PebbleOptions{})
				require.NoError(b, err)
				m, err := projection.NewModel(ctx, l, store, projection.Define(fmt.Sprint("bench", b.N), 1, projection.Options{}, counter))
				require.NoError(b, err)
				require.NoError(b, m.CatchUp(ctx))
				require.Equal(b, uint64(events), m.Progress().Events)
				require.NoError(b, store.Close())
			}
			b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
		require.NoError(b, l.Close())
	}
}
