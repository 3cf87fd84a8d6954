package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stratalog/strata/log"
)

// Dump returns all that the view holds. Nothing else of queues is begun.
func Dump(t testing.TB, l *log.Log) string {
	t.Helper()
	v, err := l.Register(context.Background(), view{&directory{}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for kv, err := range v.Scan(context.Background(), nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%q = %q\n", kv.Key, kv.Value)
	}
	return out.String()
}

// OpenTiny has everything that the queues of l hold in memory overflow at a few messages.
func OpenTiny(t testing.TB, l *log.Log) {
	t.Helper()
	if _, err := openWith(context.Background(), l, limits{
		buffer: 2, keyBuffer: 1, aheadRecords: 2, aheadBytes: 16, aside: 3, drop: 2, events: 3, lazyEvents: 2,
	}); err != nil {
		t.Fatal(err)
	}
}
