package projection

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

const (
	dirName   = "projections"
	storeName = "store"
	statusExt = ".status"
	resetExt  = ".reset"
)

// dirOf returns the directory of the projections of a log.
func dirOf(l *log.Log) string { return l.Options().FS.PathJoin(l.Dir(), dirName) }

// board is where a projection shows how it is doing, and sees whether a rebuild was asked for: files beside
// the log, which can be read and written while the program that runs the projection holds store and log.
type board struct {
	fs   vfs.FS
	dir  string
	name string
}

func (b *board) path(ext string) string { return b.fs.PathJoin(b.dir, b.name+ext) }

// show writes the status. It is not synced: it tells of now.
func (b *board) show(p *Progress) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := b.fs.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	fresh := b.path(statusExt) + segment.NewExt
	f, err := b.fs.Create(fresh, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return b.fs.Rename(fresh, b.path(statusExt))
}

// publish shows the progress: now and then, or because it must.
func (p *Projection[T]) publish(must bool) {
	if p.board != nil {
		p.life.show(p.board, must)
	}
}

// write is show, with a warning when it fails: nothing rests on it.
func (b *board) write(l *log.Log, p *Progress) {
	if err := b.show(p); err != nil {
		l.Options().Logger.Warn("projection: status not written", "projection", b.name, "error", err.Error())
	}
}

// resetAsked returns what names the request for a rebuild, or "".
func (b *board) resetAsked() (string, error) {
	text, err := segment.ReadFile(b.fs, b.path(resetExt))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("projection: %q: %w", b.name, err)
	}
	return string(text[:min(len(text), maxResetBytes)]), nil
}

const maxResetBytes = 64

// resetDone takes away a request that was met. When that fails, it is known to be met all the same.
func (b *board) resetDone(asked string) {
	if now, err := b.resetAsked(); err == nil && now == asked {
		_ = b.fs.Remove(b.path(resetExt))
	}
}

// List tells how the projections are doing of the log in a directory, by name, as their programs have shown
// last. It works beside them. Where no program has the log open, one that was carried on is Killed: the last
// transactions before that may be gone, and happen again. fsys nil is the operating system's file system.
func List(fsys vfs.FS, logDir string) ([]Progress, error) {
	if fsys == nil {
		fsys = osfs.Default
	}
	dir := fsys.PathJoin(logDir, dirName)
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("projection: %w", err)
	}
	slices.Sort(names)
	used, err := log.InUse(fsys, logDir)
	if err != nil {
		return nil, fmt.Errorf("projection: %w", err)
	}
	var list []Progress
	for _, base := range names {
		name, ok := strings.CutSuffix(base, statusExt)
		if !ok {
			continue
		}
		p := Progress{Projection: name}
		text, err := segment.ReadFile(fsys, fsys.PathJoin(dir, base))
		if err == nil && json.Unmarshal(text, &p) != nil || p.Projection != name {
			// A crash may have left no more than the name.
			p = Progress{Projection: name, Phase: Stopped, Error: "the status does not decode"}
		}
		if err != nil {
			return nil, fmt.Errorf("projection: %w", err)
		}
		if !used && (p.Phase == Building || p.Phase == Live || p.Phase == Paused) {
			p.Phase, p.EventsPerSecond = Killed, 0
		}
		list = append(list, p)
	}
	return list, nil
}

// MarkReset asks for a projection of the log in a directory to be built anew, which its program does beside the
// old model when it next runs. It works beside the program. A name that no program has run is a *NameError.
// random is where the name of the request comes from.
func MarkReset(fsys vfs.FS, logDir, name string, random io.Reader) error {
	if fsys == nil {
		fsys = osfs.Default
	}
	list, err := List(fsys, logDir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(p Progress) bool { return p.Projection == name }) {
		return &NameError{Name: name}
	}
	var id [16]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return fmt.Errorf("projection: %w", err)
	}
	dir := fsys.PathJoin(logDir, dirName)
	_ = fsys.Remove(fsys.PathJoin(dir, name+resetExt+segment.NewExt)) // of an attempt that was cut short
	if err := segment.WriteFile(fsys, dir, name+resetExt, []byte(hex.EncodeToString(id[:]))); err != nil {
		return fmt.Errorf("projection: mark %q: %w", name, err)
	}
	return nil
}

// ResetAsked reports whether a projection of the log in a directory is marked to be built anew.
func ResetAsked(fsys vfs.FS, logDir, name string) (bool, error) {
	if fsys == nil {
		fsys = osfs.Default
	}
	asked, err := (&board{fsys, fsys.PathJoin(logDir, dirName), name}).resetAsked()
	return asked != "", err
}
