package record

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// checkPlaces holds Places and DecodeAlone to the Decoder.
func checkPlaces(t *testing.T, b []byte) {
	t.Helper()
	var d Decoder
	err := d.Reset(b, 0)
	var want []Record
	if err == nil {
		want, err = drain(&d)
	}
	places, ok := Places(b, []uint32{7})
	require.Equal(t, uint32(7), places[0])
	places = places[1:]
	if !ok {
		require.Empty(t, places)
		h := d.Head()
		require.True(t, err != nil || h.Codec() != None || h.Count != h.LastOffsetDelta+1)
		return
	}
	h, headErr := ParseHead(b)
	require.NoError(t, headErr)
	require.Len(t, places, int(h.Count)+1)
	require.Equal(t, uint32(h.Bytes()), places[h.Count])
	for i := range int(h.Count) {
		var r Record
		alone := DecodeAlone(&h, b[places[i]:places[i+1]], &r)
		if i >= len(want) {
			require.Error(t, alone)
			return
		}
		require.NoError(t, alone)
		require.Equal(t, want[i], r.Clone())
	}
	require.NoError(t, err)
}

// FuzzPlaces finds records by themselves where the Decoder finds them one after the other.
func FuzzPlaces(f *testing.F) {
	f.Add(handmade(1, 12, 0, 0, 0, 1, 1, 0))
	f.Add(handmade(2, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0))
	f.Add(handmade(2, 12, 0, 0, 0, 1, 1, 0, 14, 0, 0, 2, 1, 1, 0))
	f.Add(handmade(3, 12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0))
	f.Add(handmade(1, 14, 0, 0, 0, 1, 1, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) { checkPlaces(t, b) })
}

// TestDecodeAloneRefuses what is cut short or goes on.
func TestDecodeAloneRefuses(t *testing.T) {
	h := Head{BaseOffset: 5, LastOffsetDelta: 9, Count: 10}
	b := []byte{12, 0, 0, 6, 1, 1, 0}
	var r Record
	require.NoError(t, DecodeAlone(&h, b, &r))
	require.Equal(t, int64(8), r.Offset)
	for n := range b {
		require.Error(t, DecodeAlone(&h, b[:n], &r))
	}
	require.Error(t, DecodeAlone(&h, append(b, 0), &r))
	require.Error(t, DecodeAlone(&h, []byte{12, 0, 0, 20, 1, 1, 0}, &r))
}
