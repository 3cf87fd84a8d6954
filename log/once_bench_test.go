package log_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// BenchmarkOnce appends 128 B records, each under a key of its own, beside the same without keys.
func BenchmarkOnce(b *testing.B) {
	for _, keyed := range []bool{false, true} {
		b.Run(fmt.Sprintf("keyed=%t", keyed), func(b *testing.B) {
			l := open(b, nil, b.TempDir(), log.Options{Durability: log.Buffered})
			t, err := l.CreateTopic(ctx, "t", log.TopicOptions{})
			require.NoError(b, err)
			value := make([]byte, 128)
			c := l.NewCommit()
			b.SetBytes(128)
			b.ReportAllocs()
			for i := range b.N {
				c.Reset()
				c.Append(t, log.Record{Value: value})
				if keyed {
					c.Require(log.Once(fmt.Sprintf("key-%012d", i)))
				}
				r, err := c.Commit(ctx)
				if err != nil || r.Duplicate {
					b.Fatal(r, err)
				}
			}
			b.StopTimer()
			require.NoError(b, l.Sync(ctx))
			require.EqualValues(b, b.N, t.Partition(0).Next())
			require.NoError(b, l.Close())
		})
	}
}
