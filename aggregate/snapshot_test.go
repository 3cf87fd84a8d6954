package aggregate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// counted is an account type that counts how many events were folded.
func counted(folded *int, version int, every uint64) *aggregate.Type[Account] {
	return aggregate.Define("account", accountEvents, func(a *Account, e any) error {
		*folded++
		return a.apply(e)
	}).Snapshots(version, every)
}

// snapshots returns how many snapshots there are.
func snapshots(t testing.TB, s *aggregate.Store) int64 {
	topic, err := s.Log().Topic("events.snapshots")
	if errors.Is(err, log.ErrNoTopic) {
		return 0
	}
	require.NoError(t, err)
	return topic.Partition(0).Next()
}

func TestSnapshots(t *testing.T) {
	s, _ := newStore(t)
	folded := 0
	r := accountsOf(t, s, counted(&folded, 1, 10))
	deposit(t, r, "1", 1, 1, 1, 1, 1, 1, 1, 1) // 9 events
	require.EqualValues(t, 0, snapshots(t, s))
	deposit(t, r, "1", 1, 1, 1)
	require.EqualValues(t, 1, snapshots(t, s))
	check := func(r *aggregate.Repository[Account], balance, events int) {
		t.Helper()
		folded = 0
		a, err := r.Load(ctx, "1")
		require.NoError(t, err)
		require.Equal(t, balance, a.Balance)
		require.Equal(t, "1", a.Owner)
		require.Equal(t, "1", a.ID())
		require.Equal(t, events, folded)
	}
	check(r, 11, 2)
	_, err := r.Handle(ctx, "1", func(a *Account) error {
		for range 25 { // over two boundaries in one commit
			if err := a.Deposit(1); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.EqualValues(t, 2, snapshots(t, s))
	check(r, 36, 0)

	// Another version of what snapshots look like: the events count, and so do new snapshots.
	v2 := accountsOf(t, s, counted(&folded, 2, 10))
	check(v2, 36, 37)
	require.NoError(t, v2.Snapshot(ctx, "1"))
	check(v2, 36, 0)
	check(r, 36, 37)
	require.NoError(t, r.Snapshot(ctx, "1"))
	check(r, 36, 0)
	deposit(t, r, "1", 1)
	check(r, 37, 1)

	// An earlier state is not made from a later snapshot.
	folded = 0
	a, err := r.Load(ctx, "1", aggregate.AsOf{Version: 5})
	require.NoError(t, err)
	require.Equal(t, []int{4, 5}, []int{a.Balance, folded})

	// Without the events before it the snapshot stands for them, and without one nothing does.
	require.NoError(t, s.TruncateBefore(ctx, "account-1", 38))
	check(r, 37, 1)
	require.NoError(t, s.TruncateBefore(ctx, "account-1", 39))
	_, err = r.Load(ctx, "1")
	var truncated *aggregate.TruncatedError
	require.ErrorAs(t, err, &truncated)
	require.Equal(t, &aggregate.TruncatedError{Stream: "account-1", First: 39}, truncated)
	_, err = v2.Load(ctx, "1")
	require.ErrorIs(t, err, aggregate.ErrTruncated)
	require.ErrorIs(t, r.Snapshot(ctx, "none"), aggregate.ErrNoStream)
	require.ErrorIs(t, accountsOf(t, s, accountType).Snapshot(ctx, "1"), aggregate.ErrInvalid, "no load would look for it")
	_, err = r.Handle(ctx, "1", func(a *Account) error { return a.Deposit(1) })
	require.ErrorIs(t, err, aggregate.ErrTruncated)
	lenient := accountsOf(t, s, aggregate.Define("account", accountEvents, (*Account).apply).AllowTruncated())
	deposit(t, lenient, "1", 3)
	a, err = lenient.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, 3, a.Balance)
	require.EqualValues(t, 39, a.Version())
	_, err = lenient.Load(ctx, "1", aggregate.AsOf{Version: 20})
	require.ErrorIs(t, err, aggregate.ErrTruncated)

	require.NoError(t, s.End(ctx, "account-1", aggregate.Any))
	require.ErrorIs(t, r.Snapshot(ctx, "1"), aggregate.ErrTombstone)
}

// TestFault_S26_SnapshotOfOtherEvents plants snapshots that do not fit the stream: of a later version, of
// other events, of another stream, and such that do not decode. The events decide.
func TestFault_S26_SnapshotOfOtherEvents(t *testing.T) {
	s, _ := newStore(t)
	folded := 0
	r := accountsOf(t, s, counted(&folded, 1, 0))
	deposit(t, r, "1", 1, 2, 3)
	deposit(t, r, "2", 10, 20, 30)
	require.NoError(t, r.Snapshot(ctx, "1"))
	require.NoError(t, r.Snapshot(ctx, "2"))
	topic, err := s.Log().Topic("events.snapshots")
	require.NoError(t, err)
	good, err := topic.Partition(0).Get(0)
	require.NoError(t, err)
	other, err := topic.Partition(0).Get(1)
	require.NoError(t, err)
	for name, change := range map[string]func(*log.Record){
		"another stream's":    func(r *log.Record) { r.Value, r.Headers = other.Value, other.Headers },
		"a later version":     func(r *log.Record) { r.Headers[0].Value = []byte("5") },
		"an earlier version":  func(r *log.Record) { r.Headers[0].Value = []byte("3") },
		"no version":          func(r *log.Record) { r.Headers[0].Value = []byte("x") },
		"another code":        func(r *log.Record) { r.Headers[1].Value = []byte("2") },
		"no code":             func(r *log.Record) { r.Headers[1].Value = nil },
		"another event":       func(r *log.Record) { r.Headers[2].Value = []byte("0") },
		"no check":            func(r *log.Record) { r.Headers[2].Value = []byte("zz") },
		"no such codec":       func(r *log.Record) { r.Headers[3].Value = []byte("text/plain") },
		"a state that is cut": func(r *log.Record) { r.Value = r.Value[:5] },
	} {
		plant := good.Clone()
		change(&plant)
		c := s.Log().NewCommit()
		c.AppendAs("snapshots", topic.Partition(0), plant)
		_, err := c.Commit(ctx)
		require.NoError(t, err)
		folded = 0
		a, err := r.Load(ctx, "1")
		require.NoError(t, err, name)
		require.Equal(t, 6, a.Balance, name)
		if name != "no version" { // with which the index knows the one before
			require.Equal(t, 4, folded, name)
		}
	}
	c := s.Log().NewCommit()
	c.AppendAs("snapshots", topic.Partition(0), good)
	_, err = c.Commit(ctx)
	require.NoError(t, err)
	folded = 0
	a, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []int{6, 0}, []int{a.Balance, folded})
}

// own is an aggregate that encodes its state itself.
type own struct {
	aggregate.Root
	sum int
}

func (o *own) apply(e any) error {
	o.sum += e.(Deposited).Amount
	return nil
}

func (o *own) Snapshot() ([]byte, error) { return json.Marshal(o.sum) }

func (o *own) Restore(data []byte) error { return json.Unmarshal(data, &o.sum) }

func TestSnapshotter(t *testing.T) {
	s, _ := newStore(t)
	folded := 0
	r, err := aggregate.NewRepository(s, aggregate.Define("own", accountEvents, func(o *own, e any) error { folded++; return o.apply(e) }).Snapshots(0, 4))
	require.NoError(t, err)
	for range 6 {
		_, err := r.Handle(ctx, "1", func(o *own) error { return o.Raise(Deposited{2}) })
		require.NoError(t, err)
	}
	folded = 0
	o, err := r.Load(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, []int{12, 2}, []int{o.sum, folded})
}

// TestSnapshotsChangeNothing draws histories of several accounts with every kind of snapshotting, and
// compares what is loaded with and without.
func TestSnapshotsChangeNothing(t *testing.T) {
	for seed := range uint64(8) {
		s, _ := newStore(t)
		rng := rand.New(rand.NewPCG(seed, 0))
		folded := 0
		var with []*aggregate.Repository[Account]
		for _, every := range []uint64{1, 3, 7} {
			with = append(with, accountsOf(t, s, counted(&folded, int(every), every)))
		}
		plain := accountsOf(t, s, accountType)
		for range 60 {
			id := fmt.Sprint(rng.IntN(3))
			r := with[rng.IntN(len(with))]
			_, err := r.Handle(ctx, id, func(a *Account) error {
				for range 1 + rng.IntN(4) {
					if rng.IntN(3) == 0 && a.Balance > 0 {
						if err := a.Withdraw(1 + rng.IntN(a.Balance)); err != nil {
							return err
						}
					} else if err := a.Deposit(rng.IntN(50)); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err)
			if rng.IntN(10) == 0 {
				require.NoError(t, with[rng.IntN(len(with))].Snapshot(ctx, id))
			}
			want, err := plain.Load(ctx, id)
			require.NoError(t, err)
			for _, r := range with {
				got, err := r.Load(ctx, id)
				require.NoError(t, err)
				require.Equal(t, []any{want.Balance, want.Owner, want.Version()}, []any{got.Balance, got.Owner, got.Version()}, "seed %d", seed)
			}
		}
	}
}
