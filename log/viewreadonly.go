package log

import (
	"context"
	"errors"
	"maps"
)

// Views of a log that was opened read-only are derived by those who read them, up to what is visible,
// into a store that lives as long as the log is open.

// registerReadOnly makes a view readable. registering keeps Close waiting.
func (l *Log) registerReadOnly(ctx context.Context, def View) (*ViewHandle, error) {
	a := l.applier
	a.registering.Lock()
	defer a.registering.Unlock()
	if v := l.findView(def.Name()); v != nil {
		return &ViewHandle{v}, nil
	}
	v := newView(l, def)
	v.replay = &replay{l: l, v: v, tx: ViewTx{changes: map[string]cell{}}}
	l.mu.Lock()
	info, known := l.catalog.views[v.name]
	l.mu.Unlock()
	if known {
		now := viewInfo{Topics: v.topics, Kinds: v.kinds, Producers: v.producers}
		if err := now.compare(v.name, info); err != nil {
			return nil, err
		}
	}
	if err := v.catchUp(ctx); err != nil {
		return nil, err
	}
	vs := &views{byName: map[string]*view{v.name: v}}
	if old := l.views.Load(); old != nil {
		maps.Copy(vs.byName, old.byName)
	}
	l.views.Store(vs)
	return &ViewHandle{v}, nil
}

// catchUp derives v up to what is visible.
func (v *view) catchUp(ctx context.Context) error {
	l := v.l
	if err := l.readable(); err != nil {
		return err
	}
	l.applier.applyMu.Lock()
	defer l.applier.applyMu.Unlock()
	if err := v.usable(); err != nil {
		return err
	}
	l.endMu.Lock()
	end := l.synced
	l.endMu.Unlock()
	err := v.replay.run(ctx, v.from, end)
	if err == nil {
		v.from = max(v.from, end.position)
	} else {
		v.from = max(v.from, v.replay.reached)
	}
	return err
}

// derivedTo returns the position up to which v is derived.
func (v *view) derivedTo() uint64 {
	v.l.applier.applyMu.Lock()
	defer v.l.applier.applyMu.Unlock()
	return v.from
}

// waitReadOnly waits until what lies before position is visible, and derives v up to there.
func (v *view) waitReadOnly(ctx context.Context, position uint64) error {
	l := v.l
	for {
		moved := l.movedChannel()
		if l.syncedPosition.Load() >= position {
			return v.catchUp(ctx)
		}
		if err := l.waitMoved(ctx, moved); err != nil {
			return err
		}
	}
}

// snapshotReadOnly returns what v is now. applyMu is held.
func (v *view) snapshotReadOnly() (*snapshot, error) {
	if len(v.layer) > 0 {
		if err := v.l.store.spill([]*view{v}, checkpoint{}); err != nil {
			return nil, &ViewError{View: v.name, Cause: err}
		}
		v.emptyLayer()
	}
	return v.l.store.snapshot()
}

// endReadOnly removes what was derived.
func (a *applier) endReadOnly() error {
	a.registering.Lock()
	defer a.registering.Unlock()
	a.applyMu.Lock()
	defer a.applyMu.Unlock()
	return errors.Join(a.l.store.close(false), a.l.store.discard())
}
