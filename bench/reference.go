package bench

import (
	"errors"
	"fmt"
	"os"
)

// Bare is a file without features: no heads, no checks, no index, nothing that could be recovered.
// What it takes to write the same bytes to one is the yardstick that engines are measured by.
type Bare struct {
	file *os.File
	sync bool
	size int64 // of the zeros that are written over, or 0 for a file that grows
	at   int64
	buf  []byte
}

// overwritten is how many zeros a Bare begins with that does not grow. Written over at the end, it
// begins again at the start.
const overwritten = 64 << 20

// NewBare creates a file that grows. With sync every Append ends with fdatasync.
func NewBare(path string, sync bool) (*Bare, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return &Bare{file: file, sync: sync}, nil
}

// NewOverwritten creates a file of zeros in which every Append writes over blocks that were written
// before, and ends with fdatasync: the least that a durable write can cost.
func NewOverwritten(path string) (*Bare, error) {
	b, err := NewBare(path, true)
	if err != nil {
		return nil, err
	}
	b.size = overwritten
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < b.size; at += int64(len(zeros)) {
		if _, err := b.file.WriteAt(zeros, at); err != nil {
			return nil, errors.Join(fmt.Errorf("bench: %w", err), b.file.Close())
		}
	}
	if err := b.file.Sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: %w", err), b.file.Close())
	}
	return b, nil
}

// Append writes the records by one write.
func (b *Bare) Append(records [][]byte) error {
	out := records[0]
	if len(records) > 1 {
		b.buf = b.buf[:0]
		for _, r := range records {
			b.buf = append(b.buf, r...)
		}
		out = b.buf
	}
	if b.size > 0 && b.at+int64(len(out)) > b.size {
		b.at = 0
	}
	if _, err := b.file.WriteAt(out, b.at); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	b.at += int64(len(out))
	if b.sync {
		if err := dataSync(b.file); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}

// File returns the file.
func (b *Bare) File() *os.File { return b.file }

// Close closes the file.
func (b *Bare) Close() error { return b.file.Close() }
