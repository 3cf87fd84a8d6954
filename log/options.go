package log

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/clock"
	"github.com/stratalog/strata/internal/osfs"
)

// Durability says what is true of a commit when its acknowledgement returns.
type Durability uint8

const (
	// Synced commits survive a power cut: they were written and synced. This is the default.
	Synced Durability = iota
	// Written commits survive the death of the process: the operating system has them. They are synced
	// in the background.
	Written
	// Buffered commits are in the memory of this process and written within about two milliseconds.
	Buffered
	defaultDurability
)

func (d Durability) String() string {
	switch d {
	case Synced:
		return "synced"
	case Written:
		return "written"
	case Buffered:
		return "buffered"
	}
	return "invalid"
}

// Clock is where time enters a log.
type Clock = clock.Clock

// Options configures Open. The zero value is ready for production.
type Options struct {
	// FS is the file system. Nil is the operating system's, with files that only their owner may read.
	FS vfs.FS
	// ReadOnly opens without a lock and without writing anything, also beside a live writer.
	ReadOnly bool
	// MustExist makes Open fail with ErrNoLog rather than create a log: an empty directory may be a
	// mount that is missing.
	MustExist bool
	// Durability is that of commits which do not ask for another. Zero is Synced.
	Durability Durability
	// SyncInterval is the longest time for which a written commit stays unsynced. Zero is 100 ms; a
	// negative value leaves syncing to those who wait for it, to Close, and to sealing, which begins
	// early: a goroutine of its own syncs whenever 8 MiB are not.
	SyncInterval time.Duration
	// SegmentBytes is the size at which a segment is sealed, at least 64 KiB. Zero is 128 MiB.
	SegmentBytes int64
	// MaxRecordBytes bounds the encoded size of one record. Zero is 16 MiB.
	MaxRecordBytes int
	// MaxCommitBytes bounds a commit; it is at most half of SegmentBytes, and so bounds MaxRecordBytes.
	// Zero is 64 MiB or half of SegmentBytes, whichever is less.
	MaxCommitBytes int
	// AutoCreateTopics makes Log.Topic create a topic that is missing, with one partition.
	AutoCreateTopics bool
	// Clock is the source of time. Nil is the system's.
	Clock Clock
	// Rand is the source of ids. Nil is crypto/rand.
	Rand io.Reader
	// Logger takes warnings. Nil is slog.Default().
	Logger *slog.Logger
	// Events are called as things happen.
	Events Events
}

const (
	minSegmentBytes     = 64 << 10
	defaultSegmentBytes = 128 << 20
	defaultRecordBytes  = 16 << 20
	defaultCommitBytes  = 64 << 20
	defaultSyncInterval = 100 * time.Millisecond
)

// withDefaults returns a copy of o without zero values, or all that is wrong with it.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, args...)))
	}
	if o.FS == nil {
		o.FS = osfs.Default
	}
	if o.Durability > Buffered {
		bad("Durability %d", o.Durability)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.SegmentBytes < minSegmentBytes {
		bad("SegmentBytes %d is below %d", o.SegmentBytes, minSegmentBytes)
	}
	if o.MaxCommitBytes == 0 {
		o.MaxCommitBytes = int(min(defaultCommitBytes, o.SegmentBytes/2))
	}
	if o.MaxCommitBytes < 0 || int64(o.MaxCommitBytes) > o.SegmentBytes/2 {
		bad("MaxCommitBytes %d is not within half of SegmentBytes %d", o.MaxCommitBytes, o.SegmentBytes)
	}
	if o.MaxRecordBytes == 0 {
		o.MaxRecordBytes = min(defaultRecordBytes, o.MaxCommitBytes)
	}
	if o.MaxRecordBytes < 0 {
		bad("MaxRecordBytes %d", o.MaxRecordBytes)
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = defaultSyncInterval
	}
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, errors.Join(errs...)
}
