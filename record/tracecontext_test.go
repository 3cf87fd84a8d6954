package record

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The example of the W3C recommendation.
const someTraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTraceParent(t *testing.T) {
	want := TraceContext{
		TraceID: [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36},
		SpanID:  [8]byte{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7},
		Flags:   1,
	}
	got, err := ParseTraceParent([]byte(someTraceParent))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, someTraceParent, got.String())
	assert.True(t, got.Sampled())
	for _, later := range []string{"cc" + someTraceParent[2:], "01" + someTraceParent[2:] + "-what-comes-then"} {
		got, err := ParseTraceParent([]byte(later))
		require.NoError(t, err, later)
		assert.Equal(t, want, got)
	}
	got, err = ParseTraceParent([]byte(someTraceParent[:53] + "fe"))
	require.NoError(t, err)
	assert.False(t, got.Sampled())
}

func TestParseTraceParentRefuses(t *testing.T) {
	replaced := func(at int, s string) string { return someTraceParent[:at] + s + someTraceParent[at+len(s):] }
	for _, tc := range []struct {
		name, value string
		want        TraceParentError
	}{
		{"nothing", "", TraceParentError{0, "length"}},
		{"cut short", someTraceParent[:54], TraceParentError{54, "length"}},
		{"version 00 with more", someTraceParent + "-00", TraceParentError{55, "length"}},
		{"later version with more, not set off", "01" + someTraceParent[2:] + ".x", TraceParentError{55, "separator"}},
		{"version ff", replaced(0, "ff"), TraceParentError{0, "version"}},
		{"version no number", replaced(1, "x"), TraceParentError{1, "version"}},
		{"no first separator", replaced(2, "_"), TraceParentError{2, "separator"}},
		{"no second separator", replaced(35, "0"), TraceParentError{35, "separator"}},
		{"no third separator", replaced(52, " "), TraceParentError{52, "separator"}},
		{"upper case trace id", replaced(5, "F"), TraceParentError{5, "trace id"}},
		{"upper case span id", replaced(43, "A"), TraceParentError{43, "span id"}},
		{"flags no number", replaced(54, "g"), TraceParentError{54, "flags"}},
		{"trace id zero", replaced(3, strings.Repeat("0", 32)), TraceParentError{3, "trace id"}},
		{"span id zero", replaced(36, strings.Repeat("0", 16)), TraceParentError{36, "span id"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseTraceParent([]byte(tc.value))
			var e *TraceParentError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, tc.want, *e)
			assert.ErrorIs(t, err, ErrTraceParent)
			assert.Contains(t, err.Error(), tc.want.Check)
			assert.Zero(t, got)
		})
	}
	_, err := ParseTraceParent([]byte(TraceContext{}.String()))
	assert.ErrorIs(t, err, ErrTraceParent)
}

func FuzzParseTraceParent(f *testing.F) {
	f.Add([]byte(someTraceParent))
	f.Add([]byte("01" + someTraceParent[2:] + "-x"))
	f.Fuzz(func(t *testing.T, v []byte) {
		got, err := ParseTraceParent(v)
		if err != nil {
			require.ErrorIs(t, err, ErrTraceParent)
			require.Zero(t, got)
			return
		}
		require.Equal(t, string(v[2:55]), got.String()[2:])
		again, err := ParseTraceParent([]byte(got.String()))
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
