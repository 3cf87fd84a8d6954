package queue

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/stratalog/strata/log"
)

// directory is what a log has of queues: the view, and a dispatcher for each queue that was opened. It
// is attached to the log. Its methods may be called concurrently.
type directory struct {
	l      *log.Log
	view   *log.ViewHandle
	limits limits // immutable, as letterBytes
	// letterBytes bounds the records of dead letters.
	letterBytes int
	ctx         context.Context // of all goroutines; ends with the log
	cancel      context.CancelFunc
	wg          sync.WaitGroup // added to under mu, while closed is false

	// lease is the id of the last lease. It begins at random, at firstLease, so that no two openings give the
	// same; firstLease is immutable.
	lease      atomic.Uint64
	firstLease uint64

	// declaring is held while a queue begins or ends.
	declaring sync.Mutex

	mu     sync.RWMutex
	closed bool                   // guarded by mu
	byID   map[uint64]*dispatcher // guarded by mu
	byName map[string]*dispatcher // guarded by mu

	randomMu sync.Mutex
	random   *rand.Rand // guarded by randomMu
}

// attached is what the log closes.
type attached struct{ dir *directory }

func (a attached) Close() error {
	a.dir.close()
	return nil
}

// open returns the directory of l, always the same.
func open(ctx context.Context, l *log.Log) (*directory, error) { return openWith(ctx, l, usual) }

// openWith is open with limits, unless it is open already.
func openWith(ctx context.Context, l *log.Log, limits limits) (*directory, error) {
	c, err := l.Attach(viewName, func() (io.Closer, error) {
		o := l.Options()
		dir := &directory{l: l, limits: limits, letterBytes: letterBytes(o), byID: map[uint64]*dispatcher{}, byName: map[string]*dispatcher{}}
		seed := make([]byte, 24)
		if _, err := io.ReadFull(o.Rand, seed); err != nil {
			return nil, err
		}
		dir.firstLease = binary.LittleEndian.Uint64(seed)
		dir.lease.Store(dir.firstLease)
		dir.random = rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[8:]), binary.LittleEndian.Uint64(seed[16:])))
		v, err := l.Register(ctx, view{dir})
		if err != nil {
			return nil, err
		}
		dir.view = v
		dir.ctx, dir.cancel = context.WithCancel(context.Background())
		if !l.Options().ReadOnly {
			if err := dir.dropExclusive(ctx); err != nil {
				dir.cancel()
				return nil, err
			}
		}
		return attached{dir}, nil
	})
	if err != nil {
		return nil, err
	}
	return c.(attached).dir, nil
}

func (dir *directory) close() {
	if !dir.l.Options().ReadOnly {
		_ = dir.dropExclusive(context.Background()) // otherwise the next opening does it
	}
	dir.mu.Lock()
	dir.closed = true
	dir.mu.Unlock()
	dir.cancel()
	dir.wg.Wait()
}

// gave reports whether the id is of a lease of this opening.
func (dir *directory) gave(lease uint64) bool {
	return lease-dir.firstLease-1 < dir.lease.Load()-dir.firstLease
}

// jitter returns a number of [0, 1).
func (dir *directory) jitter() float64 {
	dir.randomMu.Lock()
	defer dir.randomMu.Unlock()
	return dir.random.Float64()
}

func (dir *directory) find(id uint64) *dispatcher {
	if dir == nil {
		return nil
	}
	dir.mu.RLock()
	defer dir.mu.RUnlock()
	return dir.byID[id]
}

// name returns the name of the queue for people, "" when it is not open.
func (dir *directory) name(id uint64) string {
	if d := dir.find(id); d != nil {
		return d.name
	}
	return ""
}

// These are called by the view, while it applies. They do not wait.

func (dir *directory) sent(id uint64) {
	if d := dir.find(id); d != nil {
		d.in.wake()
	}
}

func (dir *directory) placed(id, lease uint64, it item) {
	if d := dir.find(id); d != nil {
		d.in.post(event{wasPlaced, lease, it}, it.in != inDelayed)
	}
}

func (dir *directory) settled(id, lease uint64, offset int64) {
	if d := dir.find(id); d != nil {
		d.in.post(event{wasSettled, lease, item{offset: offset}}, d.o.Ordered || d.o.MaxInFlight > 0)
	}
}

func (dir *directory) extended(id, lease uint64, offset, until int64) {
	if d := dir.find(id); d != nil {
		d.in.post(event{wasExtended, lease, item{offset: offset, due: until}}, false)
	}
}

func (dir *directory) freed(id uint64) {
	if d := dir.find(id); d != nil {
		d.in.free()
	}
}
