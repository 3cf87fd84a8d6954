package record

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRecordHeader(t *testing.T) {
	r := Record{Headers: []Header{{"a", []byte("1")}, {"b", nil}, {"a", []byte("2")}}}
	for _, tc := range []struct {
		key   string
		value []byte
		ok    bool
	}{
		{"a", []byte("2"), true}, // the last one
		{"b", nil, true},
		{"c", nil, false},
	} {
		value, ok := r.Header(tc.key)
		assert.Equal(t, tc.value, value, tc.key)
		assert.Equal(t, tc.ok, ok, tc.key)
	}
}

func TestRecordClone(t *testing.T) {
	r := Record{Topic: "t", Partition: 1, Offset: 2, Position: 3, Timestamp: at(4),
		Key: []byte("k"), Value: []byte{}, Headers: []Header{{"h", []byte("v")}, {"n", nil}}}
	c := r.Clone()
	assert.Equal(t, r, c)
	r.Key[0], r.Headers[0].Value[0], r.Headers[0].Key = 'X', 'X', "X"
	assert.Equal(t, Record{Topic: "t", Partition: 1, Offset: 2, Position: 3, Timestamp: at(4),
		Key: []byte("k"), Value: []byte{}, Headers: []Header{{"h", []byte("v")}, {"n", nil}}}, c)
	assert.Equal(t, Record{}, new(Record).Clone())
}

func TestReserved(t *testing.T) {
	for key, want := range map[string]bool{
		"strata-": true, "strata-kind": true, "strata": false, "Strata-kind": false, "": false, TraceParent: false,
	} {
		assert.Equal(t, want, Reserved(key), key)
	}
}
