package projection_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

var ctx = context.Background()

// left are the goroutines of Pebbles that tests have given up, which cannot be ended.
var left []goleak.Option

// TestMain looks for goroutines that are left.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(left...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// givesUp is for tests that give Pebbles up: what they leave behind is of those, and of nothing else.
func givesUp(t *testing.T) {
	t.Helper()
	const strata, pebble = "github.com/stratalog/strata/", "github.com/cockroachdb/pebble/v2"
	t.Cleanup(func() {
		o := slices.Clone(left)
		for _, function := range []string{
			strata + "internal/handles.(*file).Sync", strata + "internal/handles.(*file).ReadAt", strata + "projection.(*guard).Create",
			pebble + ".Open", pebble + ".(*DB).compact", pebble + ".(*DB).flush", pebble + ".(*DB).Close", pebble + ".(*DB).collectTableStats",
			pebble + ".(*cleanupManager).mainLoop", pebble + ".(*cleanupManager).Close", pebble + "/record.(*LogWriter).flushLoop",
			pebble + "/internal/genericcache.(*shard[...]).releaseLoop",
		} {
			o = append(o, goleak.IgnoreAnyFunction(function))
		}
		require.NoError(t, goleak.Find(o...))
		left = append(left, goleak.IgnoreCurrent())
	})
}

// openLog opens a log in memory, which ends with the test.
func openLog(t testing.TB, fs vfs.FS) *log.Log {
	t.Helper()
	l, err := log.Open("data", log.Options{FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// openStore opens an event store.
func openStore(t testing.TB, l *log.Log) *aggregate.Store {
	t.Helper()
	s, err := aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 2})
	require.NoError(t, err)
	return s
}

// add appends an amount to an account, and returns the position behind it.
func add(t testing.TB, s *aggregate.Store, account string, amounts ...int) uint64 {
	t.Helper()
	var events []aggregate.Event
	for _, a := range amounts {
		events = append(events, aggregate.Event{Type: "added", Data: strconv.AppendInt(nil, int64(a), 10)})
	}
	r, err := s.Append(ctx, account, aggregate.Any, events...)
	require.NoError(t, err)
	return r.Position
}

// sums is the handler of most tests: it adds amounts up by stream, and counts events.
func sums(tx *projection.Tx, e *projection.Event) error {
	amount, err := strconv.Atoi(string(e.Data))
	if err != nil {
		return err
	}
	for _, key := range []string{"sum/" + e.Stream, "total"} {
		was := 0
		if v, ok, err := tx.Get(key); err != nil {
			return err
		} else if ok {
			if was, err = strconv.Atoi(string(v)); err != nil {
				return err
			}
		}
		tx.Set(key, strconv.AppendInt(nil, int64(was+amount), 10))
	}
	return nil
}

// content returns all that a model has.
func content(t testing.TB, r projection.Reader) map[string]string {
	t.Helper()
	all := map[string]string{}
	for kv, err := range r.Range("", "") {
		require.NoError(t, err)
		all[kv.Key] = string(kv.Value)
	}
	return all
}

// folded is what sums makes of amounts by stream.
func folded(amounts map[string][]int) map[string]string {
	want := map[string]string{}
	total := 0
	for _, stream := range slices.Sorted(maps.Keys(amounts)) {
		sum := 0
		for _, a := range amounts[stream] {
			sum += a
		}
		total += sum
		want["sum/"+stream] = fmt.Sprint(sum)
	}
	if len(amounts) > 0 {
		want["total"] = fmt.Sprint(total)
	}
	return want
}
