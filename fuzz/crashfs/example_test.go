package crashfs_test

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/fuzz/crashfs"
)

// A program that replaces a file by writing a new one and renaming it forgets to sync the
// directory. Power is cut after each of its operations.
func Example() {
	fs := crashfs.New(crashfs.Options{})
	fs.WriteFile("config", []byte("one"))
	fs.SetHook(func(op crashfs.Op) {
		if !op.After {
			return
		}
		snap := fs.Snapshot()
		for _, policy := range []crashfs.Policy{crashfs.None, crashfs.All} {
			config, err := snap.Image(crashfs.Cut{Policy: policy}).ReadFile("config")
			fmt.Printf("%-28s %-5s %q %v\n", op, policy, config, err)
		}
	})
	f, _ := fs.Create("config.new", vfs.WriteCategoryUnspecified)
	_, _ = f.WriteAt([]byte("two"), 0)
	_ = f.Sync()
	_ = f.Close()
	_ = fs.Rename("config.new", "config")

	// Output:
	// 1 create /config.new         none  "one" <nil>
	// 1 create /config.new         all   "one" <nil>
	// 2 write /config.new [0, 3)   none  "one" <nil>
	// 2 write /config.new [0, 3)   all   "one" <nil>
	// 3 sync /config.new           none  "one" <nil>
	// 3 sync /config.new           all   "one" <nil>
	// 4 rename /config.new -> /config none  "one" <nil>
	// 4 rename /config.new -> /config all   "two" <nil>
}

// The sync fails once and forgets. A program that tries again is told that all is well.
func ExampleFS_Inject() {
	fs := crashfs.New(crashfs.Options{})
	fs.WriteFile("f", nil)
	f, _ := fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
	_, _ = f.WriteAt([]byte("data"), 0)

	fs.Inject(crashfs.Fault{Sync: crashfs.Drop, Err: syscall.EIO})
	fmt.Println("first sync failed:", errors.Is(f.Sync(), syscall.EIO))
	fmt.Println("second sync:", f.Sync())
	_ = f.Close()

	seen, _ := fs.ReadFile("f")
	left, _ := fs.Snapshot().Image(crashfs.Cut{Policy: crashfs.All}).ReadFile("f")
	fmt.Printf("seen %q, left by a power cut %q\n", seen, left)
	// Output:
	// first sync failed: true
	// second sync: <nil>
	// seen "data", left by a power cut ""
}

// Every cut of the last write at a byte.
func ExampleSnapshot_Tears() {
	fs := crashfs.New(crashfs.Options{})
	fs.WriteFile("f", []byte("ab"))
	f, _ := fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
	_, _ = f.WriteAt([]byte("cd"), 2)
	_ = f.Close()

	snap := fs.Snapshot()
	for cut := range snap.Tears(1) {
		cut.Missing = crashfs.Zeros
		data, _ := snap.Image(cut).ReadFile("f")
		fmt.Printf("%q\n", data)
	}
	// Output:
	// "ab\x00\x00"
	// "abc\x00"
	// "abcd"
}

// The process dies, the machine does not.
func ExampleFS_Kill() {
	fs := crashfs.New(crashfs.Options{})
	held, _ := fs.Lock("LOCK")
	defer held.Close()

	next := fs.Kill()
	_, err := fs.Open("LOCK")
	fmt.Println(err)
	_, err = next.Lock("LOCK")
	fmt.Println(err)
	// Output:
	// open /LOCK: crashfs: process was killed
	// <nil>
}
