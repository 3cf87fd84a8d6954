package log

import "time"

// Start says where reading begins. Oldest and Newest are two; AtOffset, AtPosition and AtTime make
// others. The zero value is Oldest.
type Start struct {
	kind startKind
	n    int64
}

type startKind uint8

const (
	fromOldest startKind = iota
	fromNewest
	fromOffset
	fromPosition
	fromTime
)

var (
	// Oldest is the first record that there is.
	Oldest = Start{kind: fromOldest}
	// Newest is behind the last record that is visible when reading begins.
	Newest = Start{kind: fromNewest}
)

// AtOffset is the record with this offset, in each of the partitions that are read. Behind the end it
// stands for records that are still to come.
func AtOffset(offset int64) Start { return Start{kind: fromOffset, n: offset} }

// AtPosition is the first record at or behind a position of the log.
func AtPosition(position uint64) Start { return Start{kind: fromPosition, n: int64(position)} }

// AtTime is, in each partition, the first record whose timestamp is at or after t.
func AtTime(t time.Time) Start { return Start{kind: fromTime, n: t.UnixMilli()} }
