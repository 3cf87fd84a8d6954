package sqltest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/projection"
)

// BenchmarkCatchUp builds a model of 20,000 events in 100 streams, one upsert an event, into each database with
// synced transactions of 4096 events.
func BenchmarkCatchUp(b *testing.B) {
	const events = 20_000
	for name, make := range map[string]func(testing.TB) *database{"sqlite": sqlite, "postgresql": postgres} {
		b.Run(name, func(b *testing.B) {
			d := make(b)
			o, err := open(b.TempDir(), d)
			require.NoError(b, err)
			defer o.close(b)
			for i := 0; i < events; i += 100 {
				var batch aggregate.Batch
				for k := range 100 {
					batch.Appends = append(batch.Appends, aggregate.Append{
						Stream: fmt.Sprint("acc-", k), Expected: aggregate.Any, Events: []aggregate.Event{{Type: "added", Data: []byte("7")}},
					})
				}
				_, err := o.s.Commit(ctx, batch)
				require.NoError(b, err)
			}
			upsert := d.q(" (account, amount, events) VALUES (?, ?, 1) ON CONFLICT (account) DO UPDATE SET amount = ")
			version := 0
			b.ResetTimer()
			for b.Loop() {
				version++
				p, err := projection.New(ctx, o.l, o.store, projection.Define("balances", version, projection.Options{}, func(tx *projection.SQLTx, e *projection.Event) error {
					table := tx.Table("balance")
					_, err := tx.Exec("INSERT INTO "+table+upsert+table+".amount + excluded.amount, events = "+table+".events + 1", e.Stream, 7)
					return err
				}))
				require.NoError(b, err)
				require.NoError(b, p.CatchUp(ctx))
				require.Equal(b, uint64(events), p.Progress().Events)
			}
			b.StopTimer()
			require.NoError(b, o.same7(events))
			b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// same7 checks that the benchmark has done what it claims.
func (o *opened) same7(events int) error {
	all, err := rows(o.db, "balances")
	if err != nil {
		return err
	}
	sum := 0
	for _, r := range all {
		sum += r.events
		if r.amount != 7*r.events {
			return fmt.Errorf("%d events make %d", r.events, r.amount)
		}
	}
	if sum != events {
		return fmt.Errorf("%d events of %d", sum, events)
	}
	return nil
}
