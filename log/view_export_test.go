package log

import (
	"context"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RegisterEngineView registers a view of the engine's own.
func (l *Log) RegisterEngineView(ctx context.Context, name string) (*ViewHandle, error) {
	return l.Register(ctx, engineView(name))
}

// CachedStateBytes returns how many bytes of the views' state are in the cache.
func (l *Log) CachedStateBytes() int64 {
	if l.store.acquire() != nil {
		return 0
	}
	defer l.store.release()
	return l.store.db.Metrics().BlockCache.Size
}

// MappedFiles returns how many files are mapped.
func (l *Log) MappedFiles() int {
	l.files.mu.Lock()
	defer l.files.mu.Unlock()
	return l.files.mappings
}

// FailState makes the views' state dead.
func (l *Log) FailState(cause error) { l.store.fail(cause) }

// LayerBytes returns how much the memory layers of the views hold when what was written is applied.
func (l *Log) LayerBytes() int {
	_ = l.applier.wait(context.Background())
	l.applier.applyMu.Lock()
	defer l.applier.applyMu.Unlock()
	return l.applier.layerBytes()
}

// CreateStateFile makes a file as the Pebble of the views' state does.
func (l *Log) CreateStateFile(name string) error {
	f, err := (&gate{FS: l.fs, s: l.store}).Create(name, vfs.WriteCategoryUnspecified)
	if err == nil {
		err = f.Close()
	}
	return err
}
