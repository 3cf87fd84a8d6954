package aggregate

import (
	"context"
	"encoding/binary"

	"github.com/stratalog/strata/log"
)

// Truncate is a condition that takes the events before a version off a stream, in whatever commit it is
// required; it holds when the stream is as expected. The versions of what is left stay, also when nothing
// is: the next event is the one behind. The records stay in the log.
func (s *Store) Truncate(stream string, expected Expected, before uint64) log.Condition {
	return s.view.condition(kindTruncate, stream, expected, binary.BigEndian.AppendUint64(nil, before)...)
}

// Tombstone is a condition that ends a stream for ever, in whatever commit it is required; it holds when
// the stream is as expected. Its events are not loaded any more, and nothing is appended to it again. The
// records stay in the log.
func (s *Store) Tombstone(stream string, expected Expected) log.Condition {
	return s.view.condition(kindTombstone, stream, expected)
}

// TruncateBefore takes the events before a version off a stream, in a commit of its own.
func (s *Store) TruncateBefore(ctx context.Context, stream string, before uint64) error {
	return s.require(ctx, s.Truncate(stream, Any, before))
}

// End ends a stream for ever, in a commit of its own: see Tombstone.
func (s *Store) End(ctx context.Context, stream string, expected Expected) error {
	return s.require(ctx, s.Tombstone(stream, expected))
}

func (s *Store) require(ctx context.Context, c log.Condition) error {
	commit := s.l.NewCommit()
	commit.Require(c)
	_, err := commit.Commit(ctx)
	return err
}
