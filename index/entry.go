package index

import "math"

// Entry is one batch of a partition.
type Entry struct {
	// Offset is the base offset of the batch, at least 0.
	Offset int64
	// Byte is the byte position, in the segment, of the frame that holds the batch.
	Byte int64
	// MaxTimestamp is in milliseconds since 1970. In an entry that is added it is the latest
	// timestamp in the batch. In an entry that is read it is the latest in this and all earlier
	// batches of the same partition in the segment.
	MaxTimestamp int64
	// Count is the number of offsets the batch spans, at least 1: its last offset delta plus one,
	// also where compaction has left fewer records.
	Count int32
	// Bytes is the size of the encoded batch, at least 0, so that a reader can plan or count
	// bytes without reading them.
	Bytes int32
}

// End is the first offset behind the batch.
func (e Entry) End() int64 { return e.Offset + int64(e.Count) }

// valid says whether the fields of e are in range by themselves.
func (e Entry) valid() bool {
	return e.Offset >= 0 && e.Byte >= 0 && e.Count >= 1 && e.Bytes >= 0 &&
		e.Offset <= math.MaxInt64-int64(e.Count)
}

// Reader answers questions about one segment. [Memory] and [File] are the two of them; the
// answers of a File equal those of the Memory it was written from. All methods may be called
// concurrently. A Memory never returns an error. An error of a File matches [ErrCorrupt] or
// [ErrClosed], or is one of reading; after it the caller scans the segment instead.
type Reader interface {
	// Find returns the first entry of the partition that ends behind offset: the batch that
	// holds it or, where offset lies in a gap or before the first batch, the next batch. It
	// reports false when no batch of this segment ends behind offset.
	Find(partition uint32, offset int64) (Entry, bool, error)

	// FindTime returns the first entry whose running maximum is at least ms. Its batch is also
	// the first one that has a record with such a timestamp. It reports false when there is none.
	FindTime(partition uint32, ms int64) (Entry, bool, error)

	// Scan returns a cursor over the entries that end behind from, in order.
	Scan(partition uint32, from int64) Cursor

	// Last returns the partition's last entry; false when the segment has no batch of it.
	Last(partition uint32) (Entry, bool, error)

	// Partitions returns the partitions that have entries, rising. The caller owns the slice.
	Partitions() ([]uint32, error)

	// BytesOf returns the sum of Entry.Bytes over a partition.
	BytesOf(partition uint32) (int64, error)

	// Entries calls visit for each entry, by partition and then by offset, until it returns false.
	Entries(visit func(partition uint32, e Entry) bool) error

	// Len is the number of entries of all partitions.
	Len() int
}

// Cursor walks the entries of one partition. It belongs to one goroutine, and needs no closing.
type Cursor interface {
	// Next returns the next entry, or false when there is none. A cursor over a [Memory] may be
	// asked again and then sees what was added meanwhile. After an error it returns that error
	// for ever.
	Next() (Entry, bool, error)
}

var (
	_ Reader = (*Memory)(nil)
	_ Reader = (*File)(nil)
)

// goal is what a search in one run looks for: the first entry that reaches it. Entries that do
// not reach a goal all come before those that do.
type goal struct {
	byTime bool
	value  int64 // milliseconds when byTime, otherwise an offset
}

func (g goal) reachedBy(e Entry) bool {
	if g.byTime {
		return e.MaxTimestamp >= g.value
	}
	return e.End() > g.value
}
