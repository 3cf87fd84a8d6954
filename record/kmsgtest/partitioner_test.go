package kmsgtest

import (
	"hash/fnv"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/stratalog/strata/record"
)

// TestPartitioners asks this project, franz-go and sarama for the partition of the same keys.
func TestPartitioners(t *testing.T) {
	kafka := kgo.StickyKeyPartitioner(nil).ForTopic("orders")
	compatible := kgo.SaramaCompatHasher(func(key []byte) uint32 {
		h := fnv.New32a()
		h.Write(key)
		return h.Sum32()
	})
	hash := sarama.NewHashPartitioner("orders")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "key")
		partitions := int(rapid.Int32Range(1, 1<<30).Draw(t, "partitions"))
		if rapid.Bool().Draw(t, "few") {
			partitions = partitions%64 + 1
		}
		require.Equal(t, kafka.Partition(&kgo.Record{Key: key}, partitions), record.Murmur2(key, partitions))
		require.Equal(t, compatible(key, partitions), record.FNV1a(key, partitions))
		want, err := hash.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, int32(partitions))
		require.NoError(t, err)
		require.Equal(t, int(want), record.FNV1a(key, partitions))
	})
}
