package crashfs_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/fuzz/crashfs"
)

// TestImageOfFiles cuts the power over one file: "old" is durable, then two writes are not.
func TestImageOfFiles(t *testing.T) {
	const (
		none = crashfs.None
		all  = crashfs.All
		pre  = crashfs.Prefix
		torn = crashfs.Torn
	)
	for _, tc := range []struct {
		name string
		cut  crashfs.Cut
		want string
	}{
		{"zero cut", crashfs.Cut{}, "old"},
		{"all", crashfs.Cut{Policy: all}, "oXXYYYY"},
		{"nothing of two", crashfs.Cut{Policy: pre, Ops: 0}, "old"},
		{"first of two", crashfs.Cut{Policy: pre, Ops: 1}, "oXX"},
		{"more than there are", crashfs.Cut{Policy: pre, Ops: 9}, "oXXYYYY"},
		{"negative", crashfs.Cut{Policy: pre, Ops: -1}, "old"},
		{"torn at its start", crashfs.Cut{Policy: torn, Ops: 2, Bytes: 0}, "oXX"},
		{"torn in the middle", crashfs.Cut{Policy: torn, Ops: 2, Bytes: 3}, "oXXYYY"},
		{"torn behind its end", crashfs.Cut{Policy: torn, Ops: 2, Bytes: 30}, "oXXYYYY"},
		{"torn, grown", crashfs.Cut{Policy: torn, Ops: 2, Bytes: 1, Missing: crashfs.Zeros}, "oXXY\x00\x00\x00"},
		{"torn over durable bytes", crashfs.Cut{Policy: torn, Ops: 1, Bytes: 1}, "oXd"},
		{"grown without data", crashfs.Cut{Missing: crashfs.Zeros}, "old\x00\x00\x00\x00"},
		{"grown over an older file", crashfs.Cut{Missing: crashfs.Stale, Stale: []byte("0123456")}, "old3456"},
		{"grown over a shorter older file", crashfs.Cut{Missing: crashfs.Stale, Stale: []byte("01234")}, "old34\x00\x00"},
		{"harming", crashfs.Cut{Missing: crashfs.Zeros, Overwrites: true}, "o\x00\x00\x00\x00\x00\x00"},
		{"subset of everything", crashfs.Cut{Policy: crashfs.Subset, Keep: 1}, "oXXYYYY"},
		{"subset of nothing", crashfs.Cut{Policy: crashfs.Subset, Keep: -1, Seed: 1}, "old"},
		{"subset of names only", crashfs.Cut{Policy: crashfs.SubsetEntries, Keep: -1}, "oXXYYYY"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			durable(t, fs, "f", "old")
			writeAt(t, fs, "f", 1, "XX")
			writeAt(t, fs, "f", 3, "YYYY")
			if tc.cut.Keep < 0 && tc.cut.Policy == crashfs.Subset {
				// One block with two writes: any prefix of them may have arrived.
				assert.Contains(t, []string{"old", "oXX"}, image(t, fs, tc.cut)["/f"])
				return
			}
			assert.Equal(t, files{"/f": tc.want}, image(t, fs, tc.cut))
			assert.Equal(t, files{"/f": "oXXYYYY"}, tree(t, fs), "the image must not change its origin")
		})
	}
}

// TestImageOfNames does unsynced things to names and asks which images there are.
func TestImageOfNames(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(*testing.T, *crashfs.FS)
		// The images of None and All, and all of Subset.
		none, all files
		subsets   []files
	}{
		{
			"create", func(t *testing.T, fs *crashfs.FS) { create(t, fs, "n", ""); require.NoError(t, sync(t, fs, "n")) },
			files{"/a": "A", "/b": "B"}, files{"/a": "A", "/b": "B", "/n": ""},
			[]files{{"/a": "A", "/b": "B"}, {"/a": "A", "/b": "B", "/n": ""}},
		},
		{
			"rename over another", func(t *testing.T, fs *crashfs.FS) { require.NoError(t, fs.Rename("a", "b")) },
			files{"/a": "A", "/b": "B"}, files{"/b": "A"},
			[]files{{"/a": "A", "/b": "B"}, {"/b": "A"}},
		},
		{
			"rename back and forth", func(t *testing.T, fs *crashfs.FS) {
				require.NoError(t, fs.Rename("a", "c"))
				require.NoError(t, fs.Rename("c", "a"))
			},
			files{"/a": "A", "/b": "B"}, files{"/a": "A", "/b": "B"},
			[]files{{"/a": "A", "/b": "B"}, {"/c": "A", "/b": "B"}},
		},
		{
			"rename twice", func(t *testing.T, fs *crashfs.FS) {
				require.NoError(t, fs.Rename("a", "c"))
				require.NoError(t, fs.Rename("c", "d"))
			},
			files{"/a": "A", "/b": "B"}, files{"/d": "A", "/b": "B"},
			[]files{{"/a": "A", "/b": "B"}, {"/c": "A", "/b": "B"}, {"/d": "A", "/b": "B"}},
		},
		{
			"new file, then unlink of an old one", func(t *testing.T, fs *crashfs.FS) {
				create(t, fs, "n", "")
				require.NoError(t, fs.Remove("a"))
			},
			files{"/a": "A", "/b": "B"}, files{"/b": "B", "/n": ""},
			[]files{
				{"/a": "A", "/b": "B"}, {"/b": "B", "/n": ""},
				{"/a": "A", "/b": "B", "/n": ""}, {"/b": "B"}, // the last: unlinked too early
			},
		},
		{
			"create over an old one", func(t *testing.T, fs *crashfs.FS) { create(t, fs, "a", "") },
			files{"/a": "A", "/b": "B"}, files{"/a": "", "/b": "B"},
			[]files{{"/a": "A", "/b": "B"}, {"/b": "B"}, {"/a": "", "/b": "B"}},
		},
		{
			"link", func(t *testing.T, fs *crashfs.FS) { require.NoError(t, fs.Link("a", "l")) },
			files{"/a": "A", "/b": "B"}, files{"/a": "A", "/b": "B", "/l": "A"},
			[]files{{"/a": "A", "/b": "B"}, {"/a": "A", "/b": "B", "/l": "A"}},
		},
		{
			"directory", func(t *testing.T, fs *crashfs.FS) {
				require.NoError(t, fs.MkdirAll("d/e", 0))
				durable(t, fs, "d/e/x", "X")
				require.NoError(t, sync(t, fs, "d"))
			},
			files{"/a": "A", "/b": "B"}, files{"/a": "A", "/b": "B", "/d/e/x": "X"},
			[]files{{"/a": "A", "/b": "B"}, {"/a": "A", "/b": "B", "/d/e/x": "X"}},
		},
		{
			"remove and make again", func(t *testing.T, fs *crashfs.FS) {
				require.NoError(t, fs.Remove("a"))
				create(t, fs, "a", "")
				require.NoError(t, fs.Remove("a"))
			},
			files{"/a": "A", "/b": "B"}, files{"/b": "B"},
			[]files{{"/a": "A", "/b": "B"}, {"/a": "", "/b": "B"}, {"/b": "B"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			durable(t, fs, "a", "A")
			durable(t, fs, "b", "B")
			tc.do(t, fs)
			assert.Equal(t, tc.none, image(t, fs, crashfs.Cut{}))
			assert.Equal(t, tc.all, image(t, fs, crashfs.Cut{Policy: crashfs.All}))
			var got []files
			for seed := range uint64(64) {
				img := image(t, fs, crashfs.Cut{Policy: crashfs.Subset, Seed: seed})
				if !slices.ContainsFunc(got, func(f files) bool { return assert.ObjectsAreEqual(f, img) }) {
					got = append(got, img)
				}
			}
			assert.ElementsMatch(t, tc.subsets, got)
			assert.Equal(t, tc.all, image(t, fs, crashfs.Cut{Policy: crashfs.SubsetWrites, Keep: -1}))
		})
	}
}

func TestImageWithoutNameIsGone(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	require.NoError(t, fs.MkdirAll("d", 0))
	create(t, fs, "d/f", "bytes")
	require.NoError(t, sync(t, fs, "d/f"))
	assert.Empty(t, image(t, fs, crashfs.Cut{}))
	require.NoError(t, sync(t, fs, "d"))
	assert.Empty(t, image(t, fs, crashfs.Cut{}), "d has no name yet")
	require.NoError(t, sync(t, fs, "/"))
	assert.Equal(t, files{"/d/f": "bytes"}, image(t, fs, crashfs.Cut{}))
}

func TestImageNameWithoutBytes(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	create(t, fs, "f", "bytes")
	require.NoError(t, sync(t, fs, "/"))
	assert.Equal(t, files{"/f": ""}, image(t, fs, crashfs.Cut{}))
}

func TestImageRenameAcrossDirectories(t *testing.T) {
	for _, synced := range []string{"/from", "/to"} {
		t.Run(synced, func(t *testing.T) {
			fs := crashfs.New(crashfs.Options{})
			require.NoError(t, fs.MkdirAll("from", 0))
			require.NoError(t, fs.MkdirAll("to", 0))
			require.NoError(t, sync(t, fs, "/"))
			create(t, fs, "from/f", "x")
			require.NoError(t, sync(t, fs, "from/f"))
			create(t, fs, "from/other", "")
			require.NoError(t, fs.Rename("from/f", "to/f"))
			assert.Empty(t, image(t, fs, crashfs.Cut{}))
			require.NoError(t, sync(t, fs, synced))
			want := files{"/to/f": "x"}
			if synced == "/from" {
				want["/from/other"] = ""
			}
			assert.Equal(t, want, image(t, fs, crashfs.Cut{}))
			require.NoError(t, sync(t, fs, "/from"))
			require.NoError(t, sync(t, fs, "/to"))
			assert.Equal(t, files{"/to/f": "x", "/from/other": ""}, image(t, fs, crashfs.Cut{}))
		})
	}
}

func TestImageEarlyUnlinks(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "old", "O")
	create(t, fs, "new", "N")
	require.NoError(t, fs.Remove("old"))
	assert.Equal(t, files{"/old": "O"}, image(t, fs, crashfs.Cut{}))
	assert.Equal(t, files{}, image(t, fs, crashfs.Cut{EarlyUnlinks: true, Keep: 1}))
	assert.Equal(t, files{"/new": ""}, image(t, fs, crashfs.Cut{Policy: crashfs.Prefix, Ops: 1, EarlyUnlinks: true, Keep: 1}))
}

// TestImageEarlyUnlinkOfAnother removes a file by a name that on the disk is still
// another's.
func TestImageEarlyUnlinkOfAnother(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "a", "A")
	require.NoError(t, fs.Rename("a", "b"))
	create(t, fs, "a", "")
	require.NoError(t, fs.Remove("a"))
	assert.Equal(t, files{"/a": "A"}, image(t, fs, crashfs.Cut{EarlyUnlinks: true, Keep: 1}))
}

// TestImageBlocks writes over three blocks and looks at what becomes of each.
func TestImageBlocks(t *testing.T) {
	for _, block := range []int{512, 4096} {
		for _, missing := range []crashfs.Fill{crashfs.Old, crashfs.Zeros, crashfs.Garbage, crashfs.Mixed} {
			seen := map[[3]bool]bool{}
			for seed := range uint64(100) {
				fs := crashfs.New(crashfs.Options{})
				durable(t, fs, "f", fill('o', block/2))
				writeAt(t, fs, "f", int64(block/2), fill('n', 5*block/2))
				img := image(t, fs, crashfs.Cut{
					Policy: crashfs.Subset, Block: int64(block), Seed: seed, Missing: missing,
				})["/f"]
				require.True(t, isOf(img[:block/2], 'o'), "durable bytes in a block that was written again")
				if missing == crashfs.Zeros || missing == crashfs.Garbage {
					require.Len(t, img, 3*block)
				}
				var arrived [3]bool
				for i, from := range []int{block / 2, block, 2 * block} {
					to := (i + 1) * block
					if len(img) < to {
						continue
					}
					arrived[i] = isOf(img[from:to], 'n')
					if missing == crashfs.Zeros || missing == crashfs.Old {
						require.True(t, arrived[i] || isOf(img[from:to], 0))
					}
				}
				seen[arrived] = true
			}
			assert.Len(t, seen, 8, "block %d missing %s", block, missing)
		}
	}
}

// TestImageBlockIsOneMoment has two writes in one block: the second never shows without
// the first.
func TestImageBlockIsOneMoment(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "....")
	writeAt(t, fs, "f", 0, "1")
	writeAt(t, fs, "f", 3, "2")
	seen := map[string]int{}
	for seed := range uint64(100) {
		seen[image(t, fs, crashfs.Cut{Policy: crashfs.Subset, Seed: seed, Block: 512})["/f"]]++
	}
	assert.Len(t, seen, 3)
	assert.NotZero(t, seen["...."])
	assert.NotZero(t, seen["1..."])
	assert.NotZero(t, seen["1..2"])
}

func TestImageGarbageIsSeeded(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "")
	writeAt(t, fs, "f", 0, fill('x', 1000))
	a := image(t, fs, crashfs.Cut{Missing: crashfs.Garbage, Seed: 1})["/f"]
	require.Len(t, a, 1000)
	assert.NotEqual(t, fill('x', 1000), a)
	assert.Equal(t, a, image(t, fs, crashfs.Cut{Missing: crashfs.Garbage, Seed: 1})["/f"])
	assert.NotEqual(t, a, image(t, fs, crashfs.Cut{Missing: crashfs.Garbage, Seed: 2})["/f"])
}

func TestOverwritesSparesEqualBytes(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "same")
	writeAt(t, fs, "f", 0, "same")
	assert.Equal(t, "same", image(t, fs, crashfs.Cut{Missing: crashfs.Garbage, Overwrites: true})["/f"])
	writeAt(t, fs, "f", 0, "ELSE")
	assert.Equal(t, "\x00\x00\x00\x00", image(t, fs, crashfs.Cut{Missing: crashfs.Zeros, Overwrites: true})["/f"])
	assert.Equal(t, "same", image(t, fs, crashfs.Cut{Missing: crashfs.Zeros})["/f"])
}

func TestEnumerations(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "head")
	writeAt(t, fs, "f", 4, "first")
	writeAt(t, fs, "f", 500, fill('x', 1036)) // [500, 1536): sectors 0, 1, 2
	create(t, fs, "later", "")
	snap := fs.Snapshot()

	var prefixes []int
	for c := range snap.Prefixes() {
		prefixes = append(prefixes, c.Ops)
	}
	assert.Equal(t, []int{0, 1, 2, 3}, prefixes)

	var sectors []int64
	for c := range snap.Tears(512) {
		sectors = append(sectors, c.Bytes)
		img := tree(t, snap.Image(c))
		assert.NotContains(t, img, "/later", "it came after the write")
		if c.Bytes == 0 {
			assert.Equal(t, "headfirst", img["/f"])
			continue
		}
		assert.Len(t, img["/f"], 500+int(c.Bytes))
	}
	assert.Equal(t, []int64{0, 12, 524, 1036}, sectors)

	count := 0
	for range snap.Tears(1) {
		count++
	}
	assert.Equal(t, 1037, count)

	images := map[string]bool{}
	for c := range snap.Masks(512, 10) {
		images[tree(t, snap.Image(c))["/f"]] = true
	}
	assert.Len(t, images, 8)
	for range snap.Masks(512, 2) {
		t.Error("more blocks than the limit")
	}

	quiet := crashfs.New(crashfs.Options{}).Snapshot()
	for range quiet.Tears(1) {
		t.Error("there is no write")
	}
	for range quiet.Masks(512, 10) {
		t.Error("there is no write")
	}
}

func TestUnsynced(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	require.NoError(t, fs.MkdirAll("d", 0))
	create(t, fs, "d/a", "12")
	require.NoError(t, fs.Rename("d/a", "b"))
	require.NoError(t, fs.Link("b", "c"))
	require.NoError(t, fs.Remove("b"))
	assert.Equal(t, []crashfs.Op{
		{Kind: crashfs.OpMkdir, Path: "/d"},
		{Kind: crashfs.OpCreate, Path: "/d/a"},
		{Kind: crashfs.OpWrite, Path: "/d/a", Offset: 0, Len: 2},
		{Kind: crashfs.OpRename, Path: "/d/a", To: "/b"},
		{Kind: crashfs.OpLink, Path: "/b", To: "/c"},
		{Kind: crashfs.OpRemove, Path: "/b"},
	}, fs.Snapshot().Unsynced())
	require.NoError(t, sync(t, fs, "c"))
	require.NoError(t, sync(t, fs, "/"))
	assert.Empty(t, fs.Snapshot().Unsynced())
	assert.Equal(t, files{"/c": "12"}, image(t, fs, crashfs.Cut{}))

	// What no image can reach is nobody's question.
	require.NoError(t, fs.MkdirAll("x", 0))
	create(t, fs, "x/y", "z")
	require.NoError(t, fs.RemoveAll("x"))
	require.NoError(t, sync(t, fs, "/"))
	assert.Empty(t, fs.Snapshot().Unsynced())
}

func TestNestedCrash(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	durable(t, fs, "f", "1")
	writeAt(t, fs, "f", 1, "2")
	one := fs.Snapshot().Image(crashfs.Cut{Policy: crashfs.All})
	assert.Empty(t, one.Snapshot().Unsynced())
	writeAt(t, one, "f", 2, "3")
	two := one.Snapshot().Image(crashfs.Cut{})
	assert.Equal(t, files{"/f": "12"}, tree(t, two))
	writeAt(t, two, "f", 0, "X")
	create(t, two, "g", "")
	assert.Equal(t, files{"/f": "X2", "/g": ""}, tree(t, two))
	assert.Equal(t, files{"/f": "123"}, tree(t, one))
	assert.Equal(t, files{"/f": "12"}, tree(t, fs))
}

// TestTornSector cuts a write within a sector: what is missing of that sector is zeros, and what follows
// may be anything.
func TestTornSector(t *testing.T) {
	fs := crashfs.New(crashfs.Options{})
	f, err := fs.Create("/f", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	fs.SyncAll()
	_, err = f.WriteAt(bytes.Repeat([]byte{'x'}, 2000), 100)
	require.NoError(t, err)
	snap := fs.Snapshot()
	for _, at := range []int64{1, 35, 411, 412, 413, 923, 924, 1500, 2000} {
		cut := crashfs.Cut{Policy: crashfs.Torn, Ops: 1 << 20, Bytes: at, Missing: crashfs.Garbage, Seed: 7}
		b, err := snap.Image(cut).ReadFile("/f")
		require.NoError(t, err)
		require.Len(t, b, 2100)
		end := min((100+at+511)/512*512, 2100)
		require.Equal(t, bytes.Repeat([]byte{'x'}, int(at)), b[100:100+at])
		require.Equal(t, make([]byte, end-100-at), b[100+at:end], "cut at %d", at)
		if end < 2100 {
			require.NotEqual(t, make([]byte, 2100-end), b[end:], "cut at %d", at)
		}
	}
	require.NoError(t, f.Close())
}
