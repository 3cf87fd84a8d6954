package log_test

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

// TestAttach attaches once per name, the latest is closed first, and what it still commits is taken.
func TestAttach(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	tp, err := l.CreateTopic(ctx, "events", log.TopicOptions{})
	require.NoError(t, err)
	var order []string
	piece := func(name string) func() (io.Closer, error) {
		return func() (io.Closer, error) {
			return closeFunc(func() error {
				order = append(order, name)
				_, err := tp.Append(ctx, log.Record{Value: []byte(name)})
				return err
			}), nil
		}
	}
	broken := errors.New("broken")
	_, err = l.Attach("lower", func() (io.Closer, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
	_, err = l.Attach("upper", func() (io.Closer, error) {
		if _, err := l.Attach("lower", piece("lower")); err != nil {
			return nil, err
		}
		return piece("upper")()
	})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.Equal(t, []string{"upper", "lower"}, order)
	_, err = l.Attach("lower", piece("lower"))
	require.ErrorIs(t, err, log.ErrClosed)
}

// TestAttachOnce has many callers attach at once, the first of whom fail.
func TestAttachOnce(t *testing.T) {
	l := open(t, vfs.NewMem(), "data", log.Options{})
	var calls, closed atomic.Int32
	var wg sync.WaitGroup
	var failed atomic.Int32
	for range 50 {
		wg.Go(func() {
			c, err := l.Attach("it", func() (io.Closer, error) {
				if calls.Add(1) <= 3 {
					return nil, errors.New("not yet")
				}
				return closeFunc(func() error { closed.Add(1); return nil }), nil
			})
			if err != nil {
				failed.Add(1)
			} else if c == nil {
				t.Error("neither error nor piece")
			}
		})
	}
	wg.Wait()
	require.Equal(t, int32(3), failed.Load())
	require.Equal(t, int32(4), calls.Load())
	require.NoError(t, l.Close())
	require.Equal(t, int32(1), closed.Load())
}
