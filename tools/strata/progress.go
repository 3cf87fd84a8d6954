package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress is a progress bar on the terminal that standard error is; nil, when it is none, does
// nothing. Its methods belong to one goroutine at a time.
type progress struct {
	bar *progressbar.ProgressBar
	m   *messages
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress returns a bar over total bytes, -1 when that is not known.
func (a *app) progress(what string, total int64) *progress {
	if !isTerminal(a.messages.w) {
		return nil
	}
	p := &progress{m: a.messages, bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(a.messages.w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetWidth(30),
	)}
	a.messages.mu.Lock()
	a.messages.bar = p.bar
	a.messages.mu.Unlock()
	return p
}

// inputProgress is progress for a command that reads input: what is typed is not to be overwritten.
func (a *app) inputProgress(what string, total int64, input io.Reader) *progress {
	if isTerminal(input) {
		return nil
	}
	return a.progress(what, total)
}

func (p *progress) add(bytes int64) {
	if p != nil {
		_ = p.bar.Add64(bytes)
	}
}

func (p *progress) set(done, total int64) {
	if p != nil {
		p.bar.ChangeMax64(total)
		_ = p.bar.Set64(done)
	}
}

// finish takes the bar off the terminal.
func (p *progress) finish() {
	if p == nil {
		return
	}
	p.m.mu.Lock()
	p.m.bar = nil
	p.m.mu.Unlock()
	_ = p.bar.Finish()
	_ = p.bar.Clear()
}
