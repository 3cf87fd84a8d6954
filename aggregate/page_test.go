package aggregate

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPage(t *testing.T) {
	runs := []run{{65, 3, 0, 7}, {68, 1, 2, 1 << 40}, {100, 29, 1, 0}}
	var page []byte
	for _, r := range runs {
		page = appendRun(page, r)
	}
	got, err := decodePage(nil, 1, page)
	require.NoError(t, err)
	require.Equal(t, runs, got)
	for name, bad := range map[string][]byte{
		"cut":            page[:len(page)-1],
		"beyond the end": appendRun(nil, run{128, 2, 0, 0}),
		"no events":      appendRun(nil, run{65, 0, 0, 0}),
		"overlapping":    appendRun(appendRun(nil, run{65, 3, 0, 0}), run{66, 1, 0, 9}),
	} {
		_, err := decodePage(nil, 1, bad)
		require.ErrorIs(t, err, errIndex, name)
	}
}

func FuzzPage(f *testing.F) {
	f.Add(uint64(0), appendRun(nil, run{1, 64, 3, 99}))
	f.Add(uint64(1), appendRun(appendRun(nil, run{65, 3, 0, 7}), run{70, 1, 2, 8}))
	f.Fuzz(func(t *testing.T, number uint64, b []byte) {
		number %= 1 << 40
		runs, err := decodePage(nil, number, b)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range runs {
			again = appendRun(again, r)
		}
		more, err := decodePage(nil, number, again)
		require.NoError(t, err)
		require.Equal(t, runs, more)
	})
}
