package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// errOutputClosed is returned by writes when nobody reads standard output any more.
var errOutputClosed = errors.New("standard output is closed")

// flushSoonAfter bounds how long a follower's line stays in the buffer.
const flushSoonAfter = 10 * time.Millisecond

// output is standard output: data, buffered. Its first error is sticky. It may be used concurrently.
type output struct {
	mu   sync.Mutex
	w    *bufio.Writer // guarded by mu
	soon bool          // a flush is on its way; guarded by mu
}

func newOutput(w io.Writer) *output { return &output{w: bufio.NewWriterSize(w, 64<<10)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.w.Write(b)
	return n, outputError(err)
}

// Flush hands everything to the operating system.
func (o *output) Flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return outputError(o.w.Flush())
}

// FlushSoon makes everything that was written be flushed in a moment, together with what comes
// meanwhile. An error is returned by the next call.
func (o *output) FlushSoon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.soon {
		return
	}
	o.soon = true
	time.AfterFunc(flushSoonAfter, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.soon = false
		_ = o.w.Flush()
	})
}

func outputError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EBADF), errors.Is(err, os.ErrClosed),
		errors.Is(err, io.ErrClosedPipe), isBrokenPipe(err):
		return errOutputClosed
	}
	return fmt.Errorf("standard output: %w", err)
}
