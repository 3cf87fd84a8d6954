package main

import (
	"errors"
	"os"
	"time"

	"github.com/stratalog/strata/index"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// index dumps the index of a segment, when there is one.
func (d *dump) index(name segment.Name) error {
	base := name.Index()
	f, err := index.Inspect(d.fs, d.fs.PathJoin(d.dir, base))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.indexDamage(base, err)
	}
	defer func() { _ = f.Close() }()
	of := f.Segment().Name
	var printing error
	err = f.Entries(func(partition uint32, e index.Entry) bool {
		item := &indexItem{
			Kind: "index", File: base, Segment: of, Number: &partition, Offset: e.Offset, Count: e.Count,
			Byte: e.Byte, MaxTimestamp: time.UnixMilli(e.MaxTimestamp).UTC().Format(timeFormat), Bytes: e.Bytes,
		}
		if partition == log.PositionRun {
			item.Number = nil
		}
		printing = d.print(item)
		return printing == nil
	})
	if printing != nil {
		return printing
	}
	if err == nil {
		err = f.Verify()
	}
	if err != nil {
		return d.indexDamage(base, err)
	}
	return nil
}

// indexDamage prints err, when it says which bytes of an index are damaged; otherwise it returns it.
func (d *dump) indexDamage(base string, err error) error {
	item := &damageItem{Kind: "damage", File: base, Detail: describe(err)}
	var c *index.CorruptError
	switch {
	case errors.As(err, &c):
		item.Byte, item.Check = c.Byte, c.Check
	case errors.Is(err, index.ErrFormat):
		item.Check = "version"
	default:
		return err
	}
	d.total.Damaged++
	return d.print(item)
}
