package projection

import (
	"context"
	"time"
)

// Store keeps models with their checkpoints. Its methods may be called concurrently for different names; a
// Projection calls them one after the other, but for Parked.
type Store[T any] interface {
	// Kind names the sort of store, for those who look on.
	Kind() string
	// Load returns what the store has of the projection called name.
	Load(ctx context.Context, name string) (State, error)
	// Create makes an empty build, with the checkpoint at. Its number was never used before.
	Create(ctx context.Context, name string, version int, reset string, at Checkpoint) (Build, error)
	// Begin begins a transaction on a build.
	Begin(ctx context.Context, name string, b Build) (Transaction[T], error)
	// Switch makes readers see a build, in one transaction.
	Switch(ctx context.Context, name string, b Build) error
	// Drop removes a build and all that is in it.
	Drop(ctx context.Context, name string, b Build) error
	// Parked lists the parked events of a build by position.
	Parked(ctx context.Context, name string, build uint64) ([]Parked, error)
}

// Transaction changes a build. It belongs to one goroutine, and ends with Commit or Rollback.
type Transaction[T any] interface {
	// Handle is what handlers are given.
	Handle() T
	// Bytes is about how much the transaction holds in memory.
	Bytes() int
	// Commit stores what handlers wrote together with a change, if the stored checkpoint is the one that the
	// change comes from; otherwise the error is a *FencedError. It ends the transaction in any case.
	Commit(ctx context.Context, c Change) error
	// Rollback ends the transaction without a trace. Behind Commit it does nothing.
	Rollback()
}

// Change is what a transaction stores besides what handlers wrote.
type Change struct {
	From, To Checkpoint
	// Park are events to set aside, Unpark positions of some that are not any more.
	Park   []Parked
	Unpark []uint64
}

// State is what a store has of a projection.
type State struct {
	// Active is the number of the build that readers see, 0 before there is one.
	Active uint64
	// Builds are all that there are, by number.
	Builds []Build
}

// Build is one copy of a model.
type Build struct {
	// Number is above 0, and never used again.
	Number  uint64
	Version int
	// Reset names the request that it was made for, or is "".
	Reset string
	// Checkpoint is how far it has come.
	Checkpoint Checkpoint
}

// build returns the build with a number, or nil.
func (s *State) build(number uint64) *Build {
	for i := range s.Builds {
		if s.Builds[i].Number == number {
			return &s.Builds[i]
		}
	}
	return nil
}

// Parked is an event that was set aside.
type Parked struct {
	Position  uint64    `json:"position"`
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Cause     string    `json:"cause"` // the error, as text
	Attempts  int       `json:"attempts"`
	Time      time.Time `json:"time"` // of the event
}
