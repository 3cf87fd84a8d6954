package log

import "context"

// RegisterEngineView registers a view of the engine's own.
func (l *Log) RegisterEngineView(ctx context.Context, name string) (*ViewHandle, error) {
	return l.Register(ctx, engineView(name))
}
