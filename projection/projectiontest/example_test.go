package projectiontest_test

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
	"github.com/stratalog/strata/projection/projectiontest"
)

// runs runs a test, as go test would, and reports whether it passes.
func runs(test func(t *testing.T)) bool {
	verbose := flag.Lookup("test.v").Value.String()
	_ = flag.Set("test.v", "false")
	defer func() { _ = flag.Set("test.v", verbose) }()
	every := func(string, string) (bool, error) { return true, nil }
	return testing.RunTests(every, []testing.InternalTest{{Name: "TestHandler", F: test}})
}

// The body of a test of one's own handlers: over events that one has, it calls each handler several times, years apart.
func ExampleCheckReplay() {
	l, err := log.Open("data", log.Options{FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	accounts, err := aggregate.Open(context.Background(), l, "accounts", aggregate.Options{})
	if err != nil {
		panic(err)
	}
	for i := range 3 {
		_, err := accounts.Append(context.Background(), "account-1", aggregate.Any, aggregate.Event{Type: "deposited", Data: strconv.AppendInt(nil, int64(i), 10)})
		if err != nil {
			panic(err)
		}
	}

	byEvent := projection.Define("last", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set(e.Stream, []byte(e.Time.Format(time.DateOnly)))
		return nil
	})
	byClock := projection.Define("last", 1, projection.Options{}, func(tx *projection.Tx, e *projection.Event) error {
		tx.Set(e.Stream, []byte(time.Now().Format(time.DateOnly)))
		return nil
	})
	fmt.Println(runs(func(t *testing.T) { // in a test there is a t
		projectiontest.CheckReplay(t, l, byEvent)
	}))
	var found error
	runs(func(t *testing.T) { found = projectiontest.Replay(t, l, byClock) })
	fmt.Println(found)
	// Output:
	// true
	// projection "last": the handler depends on more than model and event, such as the clock or the order of a map: key "account-1" is "2001-02-07", and in replay 1 "2002-03-17"
}
