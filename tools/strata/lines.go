package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/stratalog/strata/log"
)

const (
	readBytes  = 256 << 10 // what is asked of the input at once
	blockBytes = 256 << 10 // of lines that are handed over together when more is there
)

// block is some lines of the input.
type block struct {
	text []byte
	ends []int // index in text behind each line
	// short says that the last line has no line feed.
	short bool
	// err is what ended the input behind these lines: io.EOF, or an error.
	err error
}

// line returns the i-th line without its line feed.
func (b *block) line(i int) []byte {
	from := 0
	if i > 0 {
		from = b.ends[i-1]
	}
	return b.text[from:b.ends[i]:b.ends[i]]
}

// inputBytes returns how many bytes of the input the i-th line took.
func (b *block) inputBytes(i int) int64 {
	n := int64(len(b.line(i)))
	if b.short && i == len(b.ends)-1 {
		return n
	}
	return n + 1
}

// lines reads lines in a goroutine of its own, so that its owner can wait for other things as well.
type lines struct {
	// blocks gets the lines. It is closed behind the block that has an err.
	blocks chan *block
	free   chan *block // used blocks, to be used again
	quit   chan struct{}
	done   chan struct{}
	limit  int // of a line, in bytes
}

// readLines begins to read. A line above limit bytes ends the input with a *log.LimitError.
func readLines(r io.Reader, limit int) *lines {
	l := &lines{
		blocks: make(chan *block), free: make(chan *block, 2),
		quit: make(chan struct{}), done: make(chan struct{}), limit: limit,
	}
	l.free <- &block{}
	l.free <- &block{}
	go l.run(bufio.NewReaderSize(r, readBytes))
	return l
}

// stop makes the goroutine end after the read that it is in. It does not wait for that: a read of a
// terminal or a pipe may take for ever, and nothing can break it off.
func (l *lines) stop() { close(l.quit) }

func (l *lines) run(r *bufio.Reader) {
	defer close(l.done)
	defer close(l.blocks)
	for {
		var b *block
		select {
		case b = <-l.free:
		case <-l.quit:
			return
		}
		*b = block{text: b.text[:0], ends: b.ends[:0]}
		l.fill(r, b)
		select {
		case l.blocks <- b:
		case <-l.quit:
			return
		}
		if b.err != nil {
			return
		}
	}
}

// fill reads at least one line, and more while they are there without waiting.
func (l *lines) fill(r *bufio.Reader, b *block) {
	for b.err == nil {
		l.readLine(r, b)
		if len(b.text) >= blockBytes {
			return
		}
		if ready, _ := r.Peek(r.Buffered()); bytes.IndexByte(ready, '\n') < 0 {
			return
		}
	}
}

// readLine appends a line to b, or what ended the input.
func (l *lines) readLine(r *bufio.Reader, b *block) {
	from := len(b.text)
	for {
		part, err := r.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		b.text = append(b.text, part...)
		if n := len(b.text) - from; n > l.limit {
			b.text = b.text[:from]
			b.err = &log.LimitError{What: "line", Limit: int64(l.limit), Got: int64(n)}
			return
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if ended || errors.Is(err, io.EOF) && len(b.text) > from {
			b.ends = append(b.ends, len(b.text))
		}
		b.short, b.err = !ended, err
		if !errors.Is(err, io.EOF) && !ended {
			b.text, b.short = b.text[:from], false // half a line is none
		}
		return
	}
}
