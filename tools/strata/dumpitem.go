package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// item is one thing that dump prints: as an object, or as a line of text.
type item interface{ text() string }

func (d *dump) text(v item) error { return d.app.printf("%s\n", v.text()) }

// verdictOK is the verdict on what checks; otherwise it is the name of the check that failed.
const verdictOK = "ok"

func verdictText(verdict string) string {
	if verdict == verdictOK {
		return verdict
	}
	return "DAMAGED (" + verdict + ")"
}

type segmentItem struct {
	Kind       string `json:"kind"`
	File       string `json:"file"`
	Bytes      int64  `json:"bytes"` // of the file
	LogID      string `json:"log_id"`
	Position   uint64 `json:"position"`
	Generation uint32 `json:"generation"`
	Origin     string `json:"origin"`
	// Predecessor is the file name of the segment before, null in the first.
	Predecessor            *string `json:"predecessor"`
	PredecessorEndPosition *uint64 `json:"predecessor_end_position"`
	PredecessorEndByte     *int64  `json:"predecessor_end_byte"`
	Manifest               uint64  `json:"manifest"`
	Created                string  `json:"created"`
	// EndByte is behind the last frame. TornBytes follow it that were being written when their process
	// or machine died, and of which nobody was promised anything.
	EndByte   int64  `json:"end_byte"`
	TornBytes int64  `json:"torn_bytes"`
	Verdict   string `json:"verdict"`
}

func newSegmentItem(name segment.Name, bytes int64, h segment.Head) *segmentItem {
	s := &segmentItem{
		Kind: "segment", File: name.String(), Bytes: bytes, LogID: hex.EncodeToString(h.LogID[:]),
		Position: name.Position, Generation: name.Generation, Origin: origin(h.Origin), Manifest: h.Manifest,
		Created: micros(h.Created), Verdict: verdictOK,
	}
	if p := h.Predecessor; p != nil {
		file := p.Name.String()
		s.Predecessor, s.PredecessorEndPosition, s.PredecessorEndByte = &file, &p.EndPosition, &p.EndByte
	}
	return s
}

func origin(o segment.Origin) string {
	switch o {
	case segment.Born:
		return "born"
	case segment.Repaired:
		return "repaired"
	case segment.Rewritten:
		return "rewritten"
	case segment.Forked:
		return "forked"
	}
	return fmt.Sprintf("origin(%d)", o)
}

func (s *segmentItem) text() string {
	if s.Verdict != verdictOK {
		return fmt.Sprintf("segment %s  bytes %d  %s", s.File, s.Bytes, verdictText(s.Verdict))
	}
	before := "none"
	if s.Predecessor != nil {
		before = fmt.Sprintf("%s to position %d, byte %d", *s.Predecessor, *s.PredecessorEndPosition, *s.PredecessorEndByte)
	}
	text := fmt.Sprintf("segment %s  bytes %d  end %d  log %s  %s  created %s  manifest %d  predecessor %s",
		s.File, s.Bytes, s.EndByte, s.LogID, s.Origin, s.Created, s.Manifest, before)
	if s.TornBytes > 0 {
		text += fmt.Sprintf("  torn tail of %d bytes", s.TornBytes)
	}
	return text
}

type frameItem struct {
	Kind     string `json:"kind"`
	File     string `json:"file"`
	Byte     int64  `json:"byte"`
	Frame    string `json:"frame"` // commit, catalog, or which mark
	Bytes    uint32 `json:"bytes"`
	Position uint64 `json:"position"`
	Time     string `json:"time"`
	Durable  int64  `json:"durable"`
	Batches  int    `json:"batches"`
	Records  uint64 `json:"records"`
	Verdict  string `json:"verdict"`
}

func newFrameItem(file string, f *segment.Frame) *frameItem {
	return &frameItem{
		Kind: "frame", File: file, Byte: f.At, Frame: f.Kind.String(), Bytes: f.Length, Position: f.Position,
		Time: micros(f.Time), Durable: f.Durable, Verdict: verdictOK,
	}
}

func (f *frameItem) text() string {
	return fmt.Sprintf("  frame byte %d  %s  bytes %d  position %d  time %s  durable %d  batches %d  records %d  %s",
		f.Byte, f.Frame, f.Bytes, f.Position, f.Time, f.Durable, f.Batches, f.Records, verdictText(f.Verdict))
}

type batchItem struct {
	Kind      string  `json:"kind"`
	File      string  `json:"file"`
	Byte      int64   `json:"byte"` // of the batch itself
	Position  uint64  `json:"position"`
	Number    uint32  `json:"partition_number"` // in the log
	Topic     *string `json:"topic"`            // null when it is not known or deleted
	Partition *int32  `json:"partition"`
	Offset    int64   `json:"offset"`
	EndOffset int64   `json:"end_offset"`
	Count     int32   `json:"count"`
	Codec     string  `json:"codec"`
	Bytes     int     `json:"bytes"`
	Durable   int64   `json:"durable"` // of the frame
	Epoch     int32   `json:"epoch"`
	Verdict   string  `json:"verdict"`
}

func (b *batchItem) text() string {
	name := fmt.Sprintf("partition number %d", b.Number)
	if b.Topic != nil {
		name = fmt.Sprintf("%s/%d", *b.Topic, *b.Partition)
	}
	return fmt.Sprintf("    batch byte %d  position %d  %s  offsets %d to %d  count %d  %s  bytes %d  %s",
		b.Byte, b.Position, name, b.Offset, b.EndOffset-1, b.Count, b.Codec, b.Bytes, verdictText(b.Verdict))
}

// recordText is a record as text: bytes that are not printable are escaped.
func recordText(r *log.Record) string {
	var headers strings.Builder
	for _, h := range r.Headers {
		fmt.Fprintf(&headers, "  %q=%s", h.Key, quoted(h.Value))
	}
	return fmt.Sprintf("      record offset %d  position %d  %s  key %s  value %s%s",
		r.Offset, r.Position, r.Timestamp.UTC().Format(timeFormat), quoted(r.Key), quoted(r.Value), headers.String())
}

func quoted(b []byte) string {
	if b == nil {
		return "null"
	}
	return strconv.Quote(string(b))
}

type indexItem struct {
	Kind    string `json:"kind"`
	File    string `json:"file"`
	Segment string `json:"segment"`
	// Number is the partition's in the log; null in an entry that leads to positions.
	Number *uint32 `json:"partition_number"`
	// Offset and Count are of the batch; of positions where Number is null.
	Offset       int64  `json:"offset"`
	Count        int32  `json:"count"`
	Byte         int64  `json:"byte"` // of the frame in the segment
	MaxTimestamp string `json:"max_timestamp"`
	Bytes        int32  `json:"bytes"` // of the batch
}

func (i *indexItem) text() string {
	if i.Number == nil {
		return fmt.Sprintf("  index positions %d to %d  frame byte %d", i.Offset, i.Offset+int64(i.Count)-1, i.Byte)
	}
	return fmt.Sprintf("  index partition number %d  offsets %d to %d  frame byte %d  bytes %d  latest %s",
		*i.Number, i.Offset, i.Offset+int64(i.Count)-1, i.Byte, i.Bytes, i.MaxTimestamp)
}

type damageItem struct {
	Kind     string  `json:"kind"`
	File     string  `json:"file"`
	Byte     int64   `json:"byte"`
	Position *uint64 `json:"position"` // null where there is none, as in an index
	Check    string  `json:"check"`
	Detail   string  `json:"detail"`
}

func (d *damageItem) text() string { return "  DAMAGE " + d.Detail }

type totalItem struct {
	Kind     string `json:"kind"`
	Segments int    `json:"segments"`
	Frames   int    `json:"frames"`
	Batches  int    `json:"batches"`
	Records  int64  `json:"records"`
	// SystemRecords are those among Records that the engine keeps for itself.
	SystemRecords int64 `json:"system_records"`
	Damaged       int   `json:"damaged"`
}

func (t *totalItem) text() string {
	return fmt.Sprintf("total segments %d  frames %d  batches %d  records %d  system records %d  damaged %d",
		t.Segments, t.Frames, t.Batches, t.Records, t.SystemRecords, t.Damaged)
}
