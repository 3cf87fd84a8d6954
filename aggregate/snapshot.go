package aggregate

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// Headers of snapshots beside HeaderVersion, the version of the last event in it, and HeaderContentType. The
// key of such a record is the stream, its value the state.
const (
	HeaderSnapshotVersion = "strata-snapshot-version" // of what a snapshot looks like, decimal
	HeaderSnapshotCheck   = "strata-snapshot-check"   // xxh64 of the last event in it, hexadecimal
)

// snapshot is the state of an aggregate at a version.
type snapshot struct {
	version     uint64
	code        int // version of what it looks like
	check       uint64
	contentType string
	data        []byte
}

// checkOf is the fingerprint of an event, by which a snapshot knows it again.
func checkOf(id, kind string, data []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(strconv.Itoa(len(id)) + "," + strconv.Itoa(len(kind)) + "," + id + kind)
	_, _ = d.Write(data)
	return d.Sum64()
}

// snapshotTopic returns the topic of the store's snapshots, which it creates when there is none yet.
func (s *Store) snapshotTopic(ctx context.Context) (*log.Topic, error) {
	if t := s.snapshots.Load(); t != nil {
		return t, nil
	}
	t, err := s.l.CreateTopic(ctx, s.Topic()+snapshotSuffix, log.TopicOptions{Kind: snapshotKind})
	if err == nil {
		s.snapshots.Store(t)
	}
	return t, err
}

// putSnapshot puts a snapshot of a stream into c.
func putSnapshot(c *log.Commit, t *log.Topic, stream string, sn *snapshot) {
	c.AppendAs(snapshotKind, t.Partition(0), log.Record{
		Key: []byte(stream), Value: sn.data,
		Headers: []record.Header{
			{Key: HeaderVersion, Value: strconv.AppendUint(nil, sn.version, 10)},
			{Key: HeaderSnapshotVersion, Value: strconv.AppendInt(nil, int64(sn.code), 10)},
			{Key: HeaderSnapshotCheck, Value: strconv.AppendUint(nil, sn.check, 16)},
			{Key: HeaderContentType, Value: []byte(sn.contentType)},
		},
	})
}

// headAndSnapshot returns what is known of a stream, and where its newest snapshot is. That is looked up first: so no
// event is in it that the stream is not known to have.
func (s *Store) headAndSnapshot(ctx context.Context, stream string) (h head, at place, err error) {
	keys := [...][]byte{snapshotKey([]byte(stream)), headKey([]byte(stream))}
	err = s.h.GetMany(ctx, keys[:], func(i int, value []byte) (err error) {
		if i == 0 {
			at, _ = decodePlace(value)
			return nil
		}
		h, err = decodeHead(value)
		return err
	})
	return h, at, err
}

// lastSnapshot returns the snapshot of a stream at a place, if there is one and it is of this version of what
// snapshots look like, fits what the stream is now, and contains no event behind version to; or nil. That one
// cannot be read is as if there were none: the events have it all.
func (s *Store) lastSnapshot(ctx context.Context, stream string, h head, at place, code int, to uint64) (*snapshot, error) {
	if at.version == 0 || at.version > min(h.version, to) || at.version+1 < h.first {
		return nil, nil
	}
	sn, err := s.readSnapshot(stream, at)
	if err != nil || sn == nil || sn.version != at.version || sn.code != code {
		return nil, ignoreDamage(err)
	}
	if sn.version < h.first {
		return sn, nil // its last event was truncated, as all before it
	}
	same := false
	for e, err := range s.Load(ctx, stream, LoadOptions{From: sn.version, To: sn.version, Unsynced: true}) {
		if err != nil {
			return nil, ignoreDamage(err)
		}
		same = checkOf(e.ID, e.Type, e.Data) == sn.check
	}
	if !same {
		return nil, nil
	}
	return sn, nil
}

// ignoreDamage returns nil for an error that says that bytes are gone.
func ignoreDamage(err error) error {
	if errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrLost) || errors.Is(err, log.ErrRange) || errors.Is(err, log.ErrNoTopic) {
		return nil
	}
	return err
}

// readSnapshot reads the snapshot at a place, nil when there is something else. The bytes are the
// caller's.
func (s *Store) readSnapshot(stream string, at place) (*snapshot, error) {
	t, err := s.l.Topic(s.Topic() + snapshotSuffix)
	if err != nil {
		return nil, err
	}
	for r, err := range t.Partition(at.partition).Read(log.AtOffset(at.offset), log.ReadOptions{Unsynced: true}) {
		if err != nil {
			return nil, err
		}
		if r.Offset != at.offset || string(r.Key) != stream {
			return nil, nil
		}
		r = r.Clone()
		text, _ := r.Header(HeaderVersion)
		sn := &snapshot{data: r.Value}
		sn.version, _ = parseVersion(text)
		text, _ = r.Header(HeaderSnapshotVersion)
		code, err := strconv.Atoi(string(text))
		text, _ = r.Header(HeaderSnapshotCheck)
		check, err2 := strconv.ParseUint(string(text), 16, 64)
		if err != nil || err2 != nil {
			return nil, nil
		}
		text, _ = r.Header(HeaderContentType)
		sn.code, sn.check, sn.contentType = code, check, string(text)
		return sn, nil
	}
	return nil, nil
}

// snapshotOf encodes the state of a, which is at version, behind the event last.
func (t *Type[A]) snapshotOf(a *A, version uint64, last *Event) (*snapshot, error) {
	sn := &snapshot{version: version, code: t.snapshot, check: checkOf(last.ID, last.Type, last.Data)}
	var err error
	if own, ok := any(a).(Snapshotter); ok {
		sn.data, err = own.Snapshot()
	} else {
		sn.contentType = t.types.codecs.writes.ContentType()
		sn.data, err = t.types.codecs.writes.Marshal(a)
	}
	if err != nil {
		return nil, fmt.Errorf("aggregate: snapshot of %q: %w", t.Stream(t.root(a).id), err)
	}
	return sn, nil
}

// restore returns the aggregate that a snapshot is of, or nil when it does not decode.
func (t *Type[A]) restore(id string, sn *snapshot) *A {
	a := t.New(id)
	kept := *t.root(a)
	if own, ok := any(a).(Snapshotter); ok {
		if own.Restore(sn.data) != nil {
			return nil
		}
	} else {
		c, err := t.types.codecs.of(sn.contentType)
		if err != nil || c.Unmarshal(sn.data, a) != nil {
			return nil
		}
	}
	r := t.root(a)
	*r = kept
	r.stored = sn.version
	return a
}
