package crashfs_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stratalog/strata/fuzz/crashfs"
	"github.com/stretchr/testify/require"
)

// play reads a workload from bytes, three to an operation, and does it.
func play(t testing.TB, fs *crashfs.FS, script []byte) {
	t.Helper()
	names := []string{"a", "b", "d/a", "d/b"}
	require.NoError(t, fs.MkdirAll("d", 0))
	for ; len(script) >= 3; script = script[3:] {
		a, b := names[script[1]%4], names[script[1]/4%4]
		n := int(script[2])
		switch script[0] % 10 {
		case 0:
			create(t, fs, a, fill('c', n))
		case 1, 2, 3:
			writeAt(t, fs, a, int64(n)*40, fill('w'+script[0]%4, 1+int(script[1])*16))
		case 4, 5:
			if f, err := fs.Open(a); err == nil {
				require.NoError(t, f.SyncData())
				require.NoError(t, f.Close())
			}
		case 6:
			require.NoError(t, sync(t, fs, fs.PathDir("/"+a)))
		case 7:
			_ = fs.Remove(a) // it may not be there
		case 8:
			_ = fs.Rename(a, b)
		case 9:
			_ = fs.Link(a, b)
		}
	}
}

// checkImage holds any image against what every image must have.
func checkImage(t testing.TB, snap *crashfs.Snapshot, cut crashfs.Cut) {
	t.Helper()
	img := snap.Image(cut)
	got := tree(t, img)
	require.Equal(t, got, tree(t, snap.Image(cut)), "%s: same cut, same image", cut)
	require.Empty(t, img.Snapshot().Unsynced(), "%s: an image has nothing unsynced", cut)
	require.Equal(t, got, tree(t, img.Snapshot().Image(crashfs.Cut{})), "%s", cut)

	require.Empty(t, lost(snap, got), "%s", cut)

	// What happens to an image is nobody else's business.
	img.WriteFile("a", []byte("intruder"))
	img.DeleteFile("b")
	for name := range got {
		writeAt(t, img, name, 3, "intruder")
	}
	require.Equal(t, got, tree(t, snap.Image(cut)), "%s: a changed image changed its snapshot", cut)
}

// lost returns how an image breaks what every image must have. Names that nothing unsynced
// touches are there, and so are their bytes that no unsynced write covers, whatever file
// it goes to: links make that hard to tell.
func lost(snap *crashfs.Snapshot, got files) []string {
	contents := func(c crashfs.Cut) files {
		all, img := files{}, snap.Image(c)
		for _, name := range img.Files() {
			data, _ := img.ReadFile(name) // it was just listed
			all[name] = string(data)
		}
		return all
	}
	none, all := contents(crashfs.Cut{}), contents(crashfs.Cut{Policy: crashfs.All})
	touched := map[string]bool{}
	var writes []crashfs.Op
	for _, op := range snap.Unsynced() {
		if op.Kind == crashfs.OpWrite {
			writes = append(writes, op)
			continue
		}
		touched[op.Path], touched[op.To] = true, true
	}
	var found []string
	for name, durable := range none {
		if touched[name] || touched["/d"] && strings.HasPrefix(name, "/d/") {
			continue
		}
		data, ok := got[name]
		switch {
		case !ok:
			found = append(found, name+" is gone")
			continue
		case len(data) < len(durable):
			found = append(found, name+" is short")
			continue
		}
		for i := range durable {
			covered := slices.ContainsFunc(writes, func(op crashfs.Op) bool {
				return op.Offset <= int64(i) && int64(i) < op.Offset+op.Len
			})
			if !covered && durable[i] != data[i] {
				found = append(found, fmt.Sprintf("%s byte %d", name, i))
			}
		}
	}
	for name := range got {
		_, inNone := none[name]
		_, inAll := all[name]
		if !inNone && !inAll && !touched[name] {
			found = append(found, name+" appeared")
		}
	}
	return found
}

func drawCut(rng *rand.Rand, ops int) crashfs.Cut {
	return crashfs.Cut{
		Policy:       crashfs.Policy(rng.IntN(8)),
		Seed:         rng.Uint64(),
		Ops:          rng.IntN(ops + 2),
		Bytes:        rng.Int64N(3000),
		Mask:         rng.Uint64(),
		Block:        []int64{0, 512, 4096}[rng.IntN(3)],
		Keep:         []float64{0, 0.1, 0.9}[rng.IntN(3)],
		Missing:      crashfs.Fill(rng.IntN(5)),
		Stale:        []byte("stale bytes"),
		EarlyUnlinks: rng.IntN(2) == 0,
	}
}

// checkScript plays a script with a snapshot around each operation and checks images.
func checkScript(t testing.TB, script []byte, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(len(script))))
	fs := crashfs.New(crashfs.Options{})
	var snaps []*crashfs.Snapshot
	var seen []files
	fs.SetHook(func(op crashfs.Op) {
		if rng.IntN(6) == 0 {
			snaps, seen = append(snaps, fs.Snapshot()), append(seen, tree(t, fs))
		}
	})
	play(t, fs, script)
	for i, snap := range snaps {
		require.Equal(t, seen[i], tree(t, snap.Image(crashfs.Cut{Policy: crashfs.All})), "all of it is what was seen")
		require.Equal(t, seen[i], tree(t, snap.Clone()), "a kill loses nothing")
		ops := len(snap.Unsynced())
		require.Equal(t, seen[i], tree(t, snap.Image(crashfs.Cut{Policy: crashfs.Prefix, Ops: ops})))
		checkImage(t, snap, drawCut(rng, ops))
	}
}

func TestImagesOfRandomScripts(t *testing.T) {
	seeds := uint64(200)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]byte, 3*rng.IntN(40))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		checkScript(t, script, seed)
	}
}

func FuzzImage(f *testing.F) {
	f.Add([]byte{0, 0, 9, 4, 0, 0, 6, 0, 0, 1, 0, 2, 8, 4, 0}, uint64(1))
	f.Add([]byte{0, 2, 9, 8, 2, 0, 6, 2, 0, 7, 0, 0, 0, 0, 1}, uint64(2))
	f.Fuzz(func(t *testing.T, script []byte, seed uint64) {
		checkScript(t, script[:min(len(script), 120)], seed)
	})
}

// TestCheckBites has the check look at a disk that destroys bytes next to those that it
// writes, which it must find.
func TestCheckBites(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "a", "precious")
	writeAt(t, fs, "a", 0, "P")
	checkImage(t, fs.Snapshot(), crashfs.Cut{Missing: crashfs.Garbage})

	snap := fs.Snapshot()
	wrong := crashfs.New(crashfs.Options{})
	wrong.WriteFile("a", []byte("PrecXous"))
	require.Empty(t, lost(snap, tree(t, snap.Image(crashfs.Cut{Policy: crashfs.All}))))
	require.Equal(t, []string{"/a byte 4"}, lost(snap, tree(t, wrong)))
	require.Equal(t, []string{"/a is gone"}, lost(snap, files{}))
	require.Equal(t, []string{"/a is short", "/b appeared"}, lost(snap, files{"/a": "P", "/b": ""}))
}
