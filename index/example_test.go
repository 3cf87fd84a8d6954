package index_test

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stratalog/strata/index"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// filled is the index of a segment with three batches of partition 7.
func filled() *index.Memory {
	m := index.NewMemory()
	must(m.Add(7, index.Entry{Offset: 100, Byte: 4096, MaxTimestamp: 5000, Count: 10, Bytes: 900}))
	must(m.Add(7, index.Entry{Offset: 110, Byte: 8000, MaxTimestamp: 4000, Count: 5, Bytes: 500}))
	must(m.Add(7, index.Entry{Offset: 120, Byte: 9000, MaxTimestamp: 6000, Count: 1, Bytes: 80}))
	return m
}

func ExampleMemory_Find() {
	m := filled()
	for _, offset := range []int64{0, 112, 117, 121} {
		e, ok, _ := m.Find(7, offset)
		fmt.Println(offset, "->", e.Offset, e.Byte, ok)
	}
	// Output:
	// 0 -> 100 4096 true
	// 112 -> 110 8000 true
	// 117 -> 120 9000 true
	// 121 -> 0 0 false
}

func ExampleMemory_FindTime() {
	e, ok, _ := filled().FindTime(7, 5001)
	fmt.Println(e.Offset, ok)
	// Output: 120 true
}

func ExampleMemory_Scan() {
	m := filled()
	c := m.Scan(7, 115)
	show := func() {
		for e, ok, _ := c.Next(); ok; e, ok, _ = c.Next() {
			fmt.Println(e.Offset, e.Byte)
		}
	}
	show()
	must(m.Add(7, index.Entry{Offset: 121, Byte: 9500, Count: 1, Bytes: 80}))
	show()
	// Output:
	// 120 9000
	// 121 9500
}

func ExampleOpen() {
	fs := vfs.NewMem()
	segment := index.SegmentID{Name: "00000000000000000100-1.seg", EndByte: 9100, EndPosition: 116}
	must(index.Write(fs, "00000000000000000100-1.idx", segment, filled()))

	f, err := index.Open(fs, "00000000000000000100-1.idx", segment)
	must(err)
	e, ok, err := f.Find(7, 112)
	fmt.Println(e.Offset, e.Byte, ok, err)
	must(f.Close())

	segment.EndByte = 9200 // the segment has grown since
	_, err = index.Open(fs, "00000000000000000100-1.idx", segment)
	fmt.Println(errors.Is(err, index.ErrMismatch))
	fmt.Println(err)
	// Output:
	// 110 8000 true <nil>
	// true
	// index: 00000000000000000100-1.idx: end byte of the segment: have 9100, want 9200
}
