package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// messages is standard error. Every line begins with "strata: ". It is a slog.Handler for what the
// log warns of.
type messages struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
	// bar is cleared from the terminal before a line is printed; nil when there is none. Guarded by mu.
	bar interface{ Clear() error }
}

const prefix = "strata: "

// printf prints the lines of a message; blank ones are left out.
func (m *messages) printf(format string, args ...any) {
	m.print(fmt.Sprintf(format, args...))
}

func (m *messages) print(text string) {
	var b bytes.Buffer
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(prefix + line + "\n")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		_ = m.bar.Clear()
	}
	_, _ = m.w.Write(b.Bytes()) // there is nowhere to tell of an error
}

// Write prints whole lines, for cobra.
func (m *messages) Write(b []byte) (int, error) {
	m.print(string(b))
	return len(b), nil
}

// Enabled is true from warnings on.
func (m *messages) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle prints a warning or an error with its attributes.
func (m *messages) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	level := "warning"
	if r.Level >= slog.LevelError {
		level = "error"
	}
	b.WriteString(level + ": " + r.Message)
	r.Attrs(func(attr slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", attr.Key, attr.Value)
		return true
	})
	m.print(b.String())
	return nil
}

// WithAttrs and WithGroup are not used by what writes here.
func (m *messages) WithAttrs([]slog.Attr) slog.Handler { return m }

// WithGroup returns m.
func (m *messages) WithGroup(string) slog.Handler { return m }
