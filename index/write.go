package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// temporarySuffix marks a file that is being written. One that a crash leaves behind
	// never matters; the next Write to the same path removes it.
	temporarySuffix = ".new"

	// writeBytes is how much Write hands to the file system at once.
	writeBytes = 16 * blockBytes
)

// Write writes the index of a segment, up to segment.EndByte, to path, whole or not at all: to path with ".new"
// behind it, which it syncs and renames. It does not sync the directory, so a power cut may undo
// the rename; then the index is missing and is rebuilt. A file that is already at path is
// replaced. No Add may run meanwhile, nor another Write to the same path.
//
// Each topic may be given once, and every entry must lie before segment.EndByte.
func Write(fs vfs.FS, path string, segment SegmentID, m *Memory, topics ...TopicBytes) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("index: write %s: %w", fs.PathBase(path), err)
		}
	}()
	if len(segment.Name) < 1 || len(segment.Name) > maxNameBytes {
		return fmt.Errorf("segment name of %d bytes: want 1 to %d", len(segment.Name), maxNameBytes)
	}
	topics = slices.SortedFunc(slices.Values(topics), compareTopics)
	for i := 1; i < len(topics); i++ {
		if topics[i-1].Topic == topics[i].Topic {
			return fmt.Errorf("topic %x is given twice", topics[i].Topic)
		}
	}
	for _, t := range topics {
		if t.Bytes < 0 {
			return fmt.Errorf("topic %x of %d bytes", t.Topic, t.Bytes)
		}
	}

	temporary := path + temporarySuffix
	// OpenReadWrite would keep the bytes of an old file behind ours.
	if err := fs.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := fs.OpenReadWrite(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = encode(f, segment, m, topics)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fs.Rename(temporary, path)
	}
	if err != nil {
		// The error to report is the one above. A leftover does no harm.
		_ = fs.Remove(temporary)
	}
	return err
}

func compareTopics(a, b TopicBytes) int { return bytes.Compare(a.Topic[:], b.Topic[:]) }

// encode writes the blocks of an index in order, the head last, when its numbers are known.
func encode(f io.WriterAt, segment SegmentID, m *Memory, topics []TopicBytes) error {
	h := head{segment: segment, topics: uint32(len(topics))}

	// The check of the head salts the others, so a first pass counts what the head says.
	count := leafWriter{emit: func([]byte, int, key) error { h.leaves++; return nil }}
	if err := writeLeaves(&count, &h, m); err != nil {
		return err
	}
	height, nodes := treeOf(h.leaves)
	h.height, h.nodes = height, uint32(nodes)
	first := h.encode()

	w := blockWriter{file: f, salt: first.check()}
	if err := w.write(first); err != nil {
		return err
	}
	var rows []child
	leaves := leafWriter{emit: func(content []byte, n int, k key) error {
		rows = append(rows, child{k, w.next})
		return w.emit(0, content, n)
	}}
	if err := writeLeaves(&leaves, &head{segment: segment}, m); err != nil {
		return err
	}
	for level := uint8(1); len(rows) > 1; level++ {
		var above []child
		for part := range slices.Chunk(rows, childrenPerNode) {
			above = append(above, child{part[0].key, w.next})
			var content []byte
			for _, c := range part {
				content = c.append(content)
			}
			if err := w.emit(level, content, len(part)); err != nil {
				return err
			}
		}
		rows = above
	}
	for part := range slices.Chunk(topics, topicsPerBlock) {
		var content []byte
		for _, t := range part {
			content = t.append(content)
		}
		if err := w.emit(levelTopics, content, len(part)); err != nil {
			return err
		}
	}
	return w.flush()
}

// writeLeaves hands all entries to w and counts runs and entries in h.
func writeLeaves(w *leafWriter, h *head, m *Memory) (err error) {
	m.Entries(func(partition uint32, e Entry) bool {
		if e.Byte >= h.segment.EndByte {
			err = fmt.Errorf("partition %d: entry at byte %d, but the segment ends at %d", partition, e.Byte, h.segment.EndByte)
			return false
		}
		if h.entries == 0 || partition != w.partition {
			h.runs++
		}
		h.entries++
		err = w.add(partition, e)
		return err == nil
	})
	if err != nil {
		return err
	}
	return w.flush()
}

// leafWriter packs entries into leaves.
type leafWriter struct {
	// emit gets the content of a full leaf: rows and deltas, the number of rows, and the first
	// row's key. The content is valid during the call only.
	emit func(content []byte, rows int, first key) error

	rows    []byte // finished groups
	deltas  []byte
	groups  int
	first   key
	current group // the group that is being filled, when current.entries > 0

	partition uint32 // of the entry before
	last      Entry  // the entry before
	sum       int64  // bytes of the partition so far
}

func (w *leafWriter) add(partition uint32, e Entry) error {
	if partition != w.partition {
		w.sum = 0
	}
	var scratch [5 * binary.MaxVarintLen64]byte
	size := w.size()
	if w.current.entries == 0 || w.current.entries == maxGroup || w.partition != partition {
		delta := binary.AppendUvarint(scratch[:0], uint64(e.Count))
		delta = binary.AppendUvarint(delta, uint64(e.Bytes))
		if size+groupBytes+len(delta) > roomBytes {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.begin(partition, e)
		w.deltas = append(w.deltas, delta...)
	} else {
		delta := binary.AppendUvarint(scratch[:0], uint64(e.Offset-w.last.End()))
		delta = binary.AppendUvarint(delta, uint64(e.Byte-w.last.Byte))
		delta = binary.AppendUvarint(delta, uint64(e.MaxTimestamp-w.last.MaxTimestamp))
		delta = binary.AppendUvarint(delta, uint64(e.Count))
		delta = binary.AppendUvarint(delta, uint64(e.Bytes))
		if size+len(delta) > roomBytes {
			if err := w.flush(); err != nil {
				return err
			}
			return w.add(partition, e) // as the first of a group
		}
		w.deltas = append(w.deltas, delta...)
		w.current.entries++
	}
	w.partition, w.last = partition, e
	w.sum += int64(e.Bytes)
	return nil
}

// size is how many bytes the leaf takes so far.
func (w *leafWriter) size() int {
	n := len(w.rows) + len(w.deltas)
	if w.current.entries > 0 {
		n += groupBytes
	}
	return n
}

// begin starts a group with e.
func (w *leafWriter) begin(partition uint32, e Entry) {
	w.finish()
	w.current = group{
		partition: partition, deltas: len(w.deltas), entries: 1,
		offset: e.Offset, byte: e.Byte, max: e.MaxTimestamp, sum: w.sum,
	}
	if w.groups == 0 {
		w.first = w.current.key()
	}
}

// finish adds the current group to the rows.
func (w *leafWriter) finish() {
	if w.current.entries > 0 {
		w.rows = w.current.append(w.rows)
		w.groups++
		w.current = group{}
	}
}

// flush emits what there is as one leaf.
func (w *leafWriter) flush() error {
	w.finish()
	if w.groups == 0 {
		return nil
	}
	err := w.emit(append(w.rows, w.deltas...), w.groups, w.first)
	w.rows, w.deltas, w.groups = w.rows[:0], w.deltas[:0], 0
	return err
}

// blockWriter numbers, seals and writes blocks, many at a time.
type blockWriter struct {
	file    io.WriterAt
	salt    uint64
	next    uint32 // number of the next block
	pending []byte
	written int64
}

func (w *blockWriter) emit(level uint8, content []byte, rows int) error {
	b := &block{}
	copy(b[rowsAt:checkAt], content)
	b.seal(level, rows, w.next, w.salt)
	return w.write(b)
}

func (w *blockWriter) write(b *block) error {
	w.pending = append(w.pending, b[:]...)
	w.next++
	if len(w.pending) >= writeBytes {
		return w.flush()
	}
	return nil
}

func (w *blockWriter) flush() error {
	if _, err := w.file.WriteAt(w.pending, w.written); err != nil {
		return err
	}
	w.written += int64(len(w.pending))
	w.pending = w.pending[:0]
	return nil
}
