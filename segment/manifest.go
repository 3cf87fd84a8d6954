package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ManifestName is the base name of the manifest.
const ManifestName = "MANIFEST"

// Manifest says which segments make up a log up to some position. There is none until that set was
// first changed by anything but appending. Segments behind its last position are found by their heads.
//
//	0    8  magic "StrataMf"
//	8    4  format version, 1
//	12   4  number of segments
//	16   8  number of this manifest, from 1
//	24  16  log id
//	40  56  per segment: 16 log id that wrote it | 8 first position | 8 generation
//	        | 8 end position | 8 end byte | 8 zero
//	..   8  xxh64 of all before
type Manifest struct {
	LogID    LogID
	Number   uint64
	Segments []Ref
}

// Ref names a segment that a manifest vouches for.
type Ref struct {
	LogID       LogID // the log that wrote it; not the manifest's own in a fork
	Name        Name
	EndPosition uint64
	EndByte     int64
}

const (
	manifestMagic     = "StrataMf"
	manifestHeadBytes = 40
	manifestRefBytes  = 56
)

func (m *Manifest) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, manifestHeadBytes, manifestHeadBytes+len(m.Segments)*manifestRefBytes+8)
	copy(b, manifestMagic)
	le.PutUint32(b[8:], Version)
	le.PutUint32(b[12:], uint32(len(m.Segments)))
	le.PutUint64(b[16:], m.Number)
	copy(b[24:], m.LogID[:])
	for _, r := range m.Segments {
		b = append(b, r.LogID[:]...)
		b = le.AppendUint64(b, r.Name.Position)
		b = le.AppendUint64(b, uint64(r.Name.Generation))
		b = le.AppendUint64(b, r.EndPosition)
		b = le.AppendUint64(b, uint64(r.EndByte))
		b = le.AppendUint64(b, 0)
	}
	return le.AppendUint64(b, xxhash.Sum64(b))
}

func decodeManifest(b []byte) (*Manifest, error) {
	le := binary.LittleEndian
	damage := func(check string, want, got uint64) (*Manifest, error) {
		return nil, &CorruptError{File: ManifestName, Check: check, Want: want, Got: got}
	}
	if len(b) < manifestHeadBytes+8 {
		return damage("length", manifestHeadBytes+8, uint64(len(b)))
	}
	if string(b[:8]) != manifestMagic {
		return damage("magic", le.Uint64([]byte(manifestMagic)), le.Uint64(b))
	}
	body := b[:len(b)-8]
	if want, got := xxhash.Sum64(body), le.Uint64(b[len(b)-8:]); want != got {
		return damage("checksum", want, got)
	}
	if v := le.Uint32(b[8:]); v != Version {
		return nil, &FormatError{File: ManifestName, Version: v, Known: Version}
	}
	n := le.Uint32(b[12:])
	if uint64(len(body)) != manifestHeadBytes+uint64(n)*manifestRefBytes {
		return damage("length", manifestHeadBytes+uint64(n)*manifestRefBytes, uint64(len(body)))
	}
	m := &Manifest{Number: le.Uint64(b[16:]), Segments: make([]Ref, n)}
	copy(m.LogID[:], b[24:])
	for i := range m.Segments {
		r, x := &m.Segments[i], body[manifestHeadBytes+i*manifestRefBytes:]
		copy(r.LogID[:], x)
		r.Name = Name{Position: le.Uint64(x[16:]), Generation: uint32(le.Uint64(x[24:]))}
		r.EndPosition = le.Uint64(x[32:])
		r.EndByte = int64(le.Uint64(x[40:]))
		if i > 0 && r.Name.Position < m.Segments[i-1].EndPosition {
			return damage("position", m.Segments[i-1].EndPosition, r.Name.Position)
		}
	}
	return m, nil
}

// ReadManifest reads the manifest of dir. It returns nil when there is none, a *CorruptError when it
// does not check, a *FormatError when it is newer.
func ReadManifest(fsys vfs.FS, dir string) (*Manifest, error) {
	b, err := ReadFile(fsys, fsys.PathJoin(dir, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeManifest(b)
}

// WriteManifest replaces the manifest of dir, durably. The segments that it names must be whole,
// synced and under their names.
func WriteManifest(fsys vfs.FS, dir string, m *Manifest) error {
	return WriteFile(fsys, dir, ManifestName, m.encode())
}

// WriteFile replaces the file called base in dir by one that holds b, durably and in one step.
func WriteFile(fsys vfs.FS, dir, base string, b []byte) error {
	path := fsys.PathJoin(dir, base)
	file, err := createExclusive(fsys, path+NewExt)
	if err != nil {
		return err
	}
	n, err := file.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%w: %d of %d bytes", io.ErrShortWrite, n, len(b))
	}
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("segment: write %s: %w", base, err)
	}
	if err := fsys.Rename(path+NewExt, path); err != nil {
		return fmt.Errorf("segment: write %s: %w", base, err)
	}
	return SyncDir(fsys, dir)
}

// smallFile bounds what is read whole: a manifest of a million segments is below it.
const smallFile = 64 << 20

// ReadFile reads a small file whole.
func ReadFile(fsys vfs.FS, path string) ([]byte, error) {
	file, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("segment: stat %s: %w", fsys.PathBase(path), err)
	}
	b := make([]byte, min(info.Size(), smallFile))
	n, err := readFull(file, b, 0)
	if err != nil {
		return nil, fmt.Errorf("segment: read %s: %w", fsys.PathBase(path), err)
	}
	return b[:n], nil
}
