package aggregate_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
)

// moved is promised when a transfer was acknowledged: version is that of account a then.
type moved struct{ command string }

// transfer is one commit to two streams and a topic.
func transfer(store *aggregate.Store, mails *log.Topic, id string) (aggregate.Result, error) {
	return store.Commit(ctx, aggregate.Batch{
		Appends: []aggregate.Append{
			{"account-a", aggregate.Any, events("-1", "fee "+id)},
			{"account-b", aggregate.Any, events("+1")},
		},
		CommandID: id,
		With:      func(c *log.Commit) error { c.Append(mails, log.Record{Value: []byte(id)}); return nil },
	})
}

// transfers appends to two streams and a topic in one commit each, under command ids, with a truncation in
// between, over two lives.
func transfers(s *harness.Session) {
	s.Open()
	for life := range 2 {
		l := s.Log()
		if l == nil {
			return
		}
		store, err := aggregate.Open(ctx, l, "events", aggregate.Options{Partitions: 2})
		if err != nil {
			return
		}
		mails, err := l.CreateTopic(ctx, "mails", log.TopicOptions{})
		if err != nil {
			return
		}
		for i := range 4 {
			id := fmt.Sprint("transfer-", i+3*life) // the last one of the first life comes again
			s.Attempt(moved{id})
			if _, err := transfer(store, mails, id); err != nil {
				return
			}
			s.Promise(moved{id})
		}
		if life == 0 {
			if err := store.TruncateBefore(ctx, "account-a", 3); err != nil {
				return
			}
			s.Kill()
		}
	}
}

// accountsBalance checks the accounts, sends all commands that were attempted once more, as their callers do who
// do not know what became of them, and checks again: each of them is done then, once.
func accountsBalance(l *log.Log, notes []harness.Note) error {
	if err := accountsOnce(l, notes); err != nil {
		return err
	}
	mails, err := l.Topic("mails")
	if errors.Is(err, log.ErrNoTopic) {
		return nil
	}
	if err != nil {
		return err
	}
	store, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	if err != nil {
		return err
	}
	again := slices.Clone(notes)
	for _, n := range notes {
		m, ok := n.Value.(moved)
		if !ok || n.Acked {
			continue
		}
		first, done, err := store.Done(ctx, m.command)
		if err != nil {
			return err
		}
		r, err := transfer(store, mails, m.command)
		if err != nil {
			return fmt.Errorf("%s, sent again: %w", m.command, err)
		}
		if r.Duplicate != done || done && !slices.Equal(r.Streams, first.Streams) {
			return fmt.Errorf("%s was done: %v, as %v; sent again it gives %v", m.command, done, first, r)
		}
		again = append(again, harness.Note{Acked: true, Value: m})
	}
	return accountsOnce(l, again)
}

// accountsOnce checks that both streams and the topic tell of the same transfers, each once, with
// versions 1..n, forward and backward, and that no promised one is missing.
func accountsOnce(l *log.Log, notes []harness.Note) error {
	promised := map[string]bool{}
	for _, n := range notes {
		if m, ok := n.Value.(moved); ok && n.Acked {
			promised[m.command] = true
		}
	}
	mails, err := l.Topic("mails")
	if errors.Is(err, log.ErrNoTopic) && len(promised) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for r, err := range mails.Read(log.Oldest) {
		if err != nil {
			return err
		}
		if done[string(r.Value)] {
			return fmt.Errorf("%s was done twice", r.Value)
		}
		done[string(r.Value)] = true
	}
	for id := range promised {
		if !done[id] {
			return fmt.Errorf("%s was promised and is not there", id)
		}
	}
	store, err := aggregate.Open(ctx, l, "events", aggregate.Options{})
	if err != nil {
		return err
	}
	for stream, per := range map[string]uint64{"account-a": 2, "account-b": 1} {
		info, err := store.Info(ctx, stream)
		if errors.Is(err, aggregate.ErrNoStream) && len(done) == 0 {
			continue
		}
		if err != nil {
			return err
		}
		if info.Version != per*uint64(len(done)) {
			return fmt.Errorf("%s is at version %d after %d transfers", stream, info.Version, len(done))
		}
		for _, backward := range []bool{false, true} {
			n := uint64(0)
			for e, err := range store.Load(ctx, stream, aggregate.LoadOptions{Backward: backward}) {
				if err != nil {
					return err
				}
				want := info.First + n
				if backward {
					want = info.Version - n
				}
				if e.Version != want || !done[e.CommandID] {
					return fmt.Errorf("%s: version %d of %s where %d was due", stream, e.Version, e.CommandID, want)
				}
				n++
			}
			if n != info.Events() {
				return fmt.Errorf("%s: %d events of %d", stream, n, info.Events())
			}
		}
	}
	for id := range done {
		r, ok, err := store.Done(ctx, id)
		if err != nil || !ok || len(r.Streams) != 2 {
			return fmt.Errorf("%s is there, and its result is %v, %v, %v", id, r, ok, err)
		}
	}
	return nil
}

// TestFault_S25_CrashAtEveryOperation crashes appends of several events to several streams before and
// after each file operation: all of a commit or none of it, promised ones always, each command once (S23), and
// the window in which a command is known again has no end (S24): on an even selection of the images, or on all with
// STRATA_IMAGES=all.
func TestFault_S25_CrashAtEveryOperation(t *testing.T) {
	w := harness.Workload{
		Name: "transfers", Options: log.Options{SegmentBytes: 64 << 10, SyncInterval: -1}, Opaque: true,
		Steps: transfers, Check: accountsBalance,
	}
	o, floor := harness.Options{Deep: 64, Limit: 1500}, 1500
	switch {
	case os.Getenv("STRATA_IMAGES") == "all":
		o.Limit = 0
	case testing.Short():
		o.Limit, floor = 300, 300
	}
	s := harness.Run(t, w, o)
	t.Logf("T1 transfers %s", s)
	if s.Images < floor || s.Acked == 0 {
		t.Errorf("%s: the floor is %d images, with promises to check", s, floor)
	}
}
