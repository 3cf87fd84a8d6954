package aggregate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/stratalog/strata/log"
)

const (
	// Kind is the kind of the topics that are event stores: only this package appends to them.
	Kind = "events"

	changesTopic   = log.SystemPrefix + "streams"
	viewPrefix     = changesTopic + "."
	snapshotSuffix = ".snapshots"
	snapshotKind   = "snapshots"

	opTruncate  = 't'
	opTombstone = 'e'
)

// The kinds of conditions. Key is the name of the stream; Want begins with what is expected, be64.
const (
	kindAppend    = 1 // be64 version | be32 number of events
	kindExpect    = 2 // be64 expected
	kindTruncate  = 3 // be64 expected | be64 before
	kindTombstone = 4 // be64 expected
)

// view is the index of the streams of one store. Its formats are in the package's doc.
type view struct{ topic string }

// View returns the view of the streams of the store in topic, for reading it by its name.
func View(topic string) log.View { return view{topic} }

func (v view) Name() string { return viewPrefix + v.topic }

func (v view) Topics() []string { return []string{v.topic, v.topic + snapshotSuffix, changesTopic} }

func streamKey(kind byte, stream []byte) []byte {
	b := make([]byte, 0, 1+len(stream))
	return append(append(b, kind), stream...)
}

func headKey(stream []byte) []byte     { return streamKey('h', stream) }
func snapshotKey(stream []byte) []byte { return streamKey('s', stream) }

func pageKey(stream []byte, page uint64) []byte {
	b := make([]byte, 0, 2+len(stream)+8)
	b = append(append(b, 'p'), stream...)
	return binary.BigEndian.AppendUint64(append(b, 0), page)
}

func (v view) Apply(tx *log.ViewTx, c *log.AppliedCommit) error {
	for i := range c.Batches {
		b := &c.Batches[i]
		var err error
		switch b.Topic {
		case v.topic:
			err = applyEvents(tx, b)
		case v.topic + snapshotSuffix:
			if b.Kind == snapshotKind {
				err = applySnapshots(tx, b)
			}
		case changesTopic:
			err = v.applyChanges(tx, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// applyEvents puts a batch of events into the index.
func applyEvents(tx *log.ViewTx, b *log.AppliedBatch) error {
	var stream []byte
	var r run
	flush := func() error {
		if r.count == 0 {
			return nil
		}
		return addRun(tx, stream, r)
	}
	for rec, err := range b.Records() {
		if err != nil {
			return err
		}
		text, _ := rec.Header(HeaderVersion)
		version, ok := parseVersion(text)
		if !ok || len(rec.Key) == 0 {
			return &RecordError{Topic: b.Topic, Partition: b.Partition, Offset: rec.Offset, Reason: "version or stream is missing"}
		}
		if r.count > 0 && version == r.first+uint64(r.count) && rec.Offset == r.offset+int64(r.count) && bytes.Equal(stream, rec.Key) {
			r.count++
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		stream = append(stream[:0], rec.Key...)
		r = run{version, 1, b.Partition, rec.Offset}
	}
	return flush()
}

// addRun adds a run to the pages that it belongs to, and moves the head.
func addRun(tx *log.ViewTx, stream []byte, r run) error {
	key := headKey(stream)
	value, err := tx.Get(key)
	if err != nil {
		return err
	}
	h, err := decodeHead(value)
	if err != nil {
		return err
	}
	if r.first <= h.version {
		return fmt.Errorf("aggregate: version %d of stream %q comes behind version %d", r.first, stream, h.version)
	}
	tx.Set(key, h.appended(r.first+uint64(r.count)-1).encode())
	for r.count > 0 {
		number := pageOf(r.first)
		part := r
		part.count = min(r.count, int((number+1)*pageVersions-r.first+1))
		key := pageKey(stream, number)
		page, err := tx.Get(key)
		if err != nil {
			return err
		}
		tx.Set(key, appendRun(bytes.Clone(page), part))
		r.first += uint64(part.count)
		r.offset += int64(part.count)
		r.count -= part.count
	}
	return nil
}

// applyChanges folds in truncations and tombstones. The key of such a record is topic | 0 | stream, its
// value the op, and for a truncation be64 of the first version that stays.
func (v view) applyChanges(tx *log.ViewTx, b *log.AppliedBatch) error {
	for rec, err := range b.Records() {
		if err != nil {
			return err
		}
		topic, stream, ok := bytes.Cut(rec.Key, []byte{0})
		if !ok || len(rec.Value) == 0 {
			return fmt.Errorf("aggregate: record %d of %s does not decode", rec.Offset, changesTopic)
		}
		if string(topic) != v.topic {
			continue
		}
		value, err := tx.Get(headKey(stream))
		if err != nil {
			return err
		}
		h, err := decodeHead(value)
		if err != nil {
			return err
		}
		now := h
		switch op := rec.Value[0]; {
		case op == opTruncate && len(rec.Value) == 9:
			now = h.truncated(binary.BigEndian.Uint64(rec.Value[1:]))
		case op == opTombstone && len(rec.Value) == 1:
			now = h.truncated(h.version + 1)
			now.tombstone = true
			tx.Delete(snapshotKey(stream))
		default:
			return fmt.Errorf("aggregate: record %d of %s does not decode", rec.Offset, changesTopic)
		}
		dropPages(tx, stream, h, now)
		if encoded := now.encode(); encoded != nil {
			tx.Set(headKey(stream), encoded)
		}
	}
	return nil
}

// dropPages deletes the pages that lie wholly before the first version that is left.
func dropPages(tx *log.ViewTx, stream []byte, was, now head) {
	if was.version == 0 || now.first <= was.first {
		return
	}
	end := pageOf(now.first)
	if now.tombstone {
		end = pageOf(now.version) + 1
	}
	for p := pageOf(was.first); p < end; p++ {
		tx.Delete(pageKey(stream, p))
	}
}

var errWant = errors.New("aggregate: condition does not decode")

// Key implements log.Answerer.
func (v view) Key(c *log.Condition) ([]byte, error) {
	want := map[uint8]int{kindAppend: 12, kindExpect: 8, kindTruncate: 16, kindTombstone: 8}[c.Kind]
	if want == 0 || len(c.Want) != want {
		return nil, fmt.Errorf("%w: %w", log.ErrCondition, errWant)
	}
	if err := checkStream(string(c.Key)); err != nil {
		return nil, err
	}
	return headKey(c.Key), nil
}

// Carry implements log.Answerer.
func (v view) Carry(c *log.Condition, _ int) (string, []log.Record) {
	var value []byte
	switch c.Kind {
	case kindTruncate:
		value = append([]byte{opTruncate}, c.Want[8:]...)
	case kindTombstone:
		value = []byte{opTombstone}
	default:
		return "", nil // the events themselves are in the commit
	}
	key := append([]byte(v.topic), 0)
	return changesTopic, []log.Record{{Key: append(key, c.Key...), Value: value}}
}

// Verdict implements log.Answerer.
func (v view) Verdict(c *log.Condition, value []byte) (*log.Duplicate, error) {
	h, err := decodeHead(value)
	if err != nil {
		return nil, err
	}
	if h.tombstone {
		return nil, &TombstoneError{Stream: string(c.Key)}
	}
	if expected := Expected(binary.BigEndian.Uint64(c.Want)); !expected.holds(h.version) {
		return nil, &VersionConflictError{Stream: string(c.Key), Expected: expected, Actual: h.version}
	}
	return nil, nil
}

// After implements log.Answerer.
func (v view) After(c *log.Condition, value []byte, _ *log.Sequenced) []byte {
	h, err := decodeHead(value)
	if err != nil {
		return value // the verdict was an error
	}
	switch c.Kind {
	case kindAppend:
		return h.appended(h.version + uint64(binary.BigEndian.Uint32(c.Want[8:]))).encode()
	case kindTruncate:
		return h.truncated(binary.BigEndian.Uint64(c.Want[8:])).encode()
	case kindTombstone:
		h = h.truncated(h.version + 1)
		h.tombstone = true
		return h.encode()
	}
	return value
}

// condition returns a condition on a stream.
func (v view) condition(kind uint8, stream string, expected Expected, more ...byte) log.Condition {
	want := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(more)), uint64(expected))
	return log.Condition{View: v.Name(), Kind: kind, Key: []byte(stream), Want: append(want, more...)}
}
