package record

import (
	"hash/fnv"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// The vectors are those of Kafka's own tests of its murmur2.
func TestMurmur2(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		assert.Equal(t, want, int32(murmur2Sum([]byte(key))), key)
		for _, partitions := range []int{1, 2, 7, 100, math.MaxInt32} {
			assert.Equal(t, int(want&math.MaxInt32)%partitions, Murmur2([]byte(key), partitions), key)
		}
	}
}

// The vectors are those of the authors of FNV, http://www.isthe.com/chongo/src/fnv/test_fnv.c.
func TestFNV1a(t *testing.T) {
	for _, tc := range []struct {
		key  string
		want uint32
	}{
		{"", 0x811c9dc5},
		{"a", 0xe40c292c},
		{"b", 0xe70c2de5},
		{"f", 0xe30c2799},
		{"fo", 0x6222e842},
		{"foo", 0xa9f37ed7},
		{"foob", 0x3f5076ef},
		{"fooba", 0x39aaa18a},
		{"foobar", 0xbf9cf968},
	} {
		assert.Equal(t, tc.want, fnv1aSum([]byte(tc.key)), tc.key)
	}
	// As a signed number "foobar" is -1080231576; the remainder's sign is dropped, not the hash's.
	assert.Equal(t, 1080231576%7, FNV1a([]byte("foobar"), 7))
	assert.Equal(t, 0x3f5076ef%7, FNV1a([]byte("foob"), 7))
}

func TestPartitionersStayInRange(t *testing.T) {
	for name, p := range map[string]Partitioner{"murmur2": Murmur2, "fnv1a": FNV1a} {
		t.Run(name, func(t *testing.T) {
			for _, partitions := range []int{0, -1, math.MinInt, 1} {
				assert.Equal(t, 0, p([]byte("key"), partitions))
			}
			assert.Equal(t, p([]byte{}, 9), p(nil, 9))
			rapid.Check(t, func(t *rapid.T) {
				key := rapid.SliceOf(rapid.Byte()).Draw(t, "key")
				partitions := rapid.IntRange(1, math.MaxInt).Draw(t, "partitions")
				got := p(key, partitions)
				assert.True(t, 0 <= got && got < partitions, "%d of %d", got, partitions)
				h := fnv.New32a()
				h.Write(key)
				assert.Equal(t, h.Sum32(), fnv1aSum(key))
			})
		})
	}
}
