package main

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/spf13/cobra"

	"github.com/stratalog/strata/internal/osfs"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

func (a *app) dumpCommand() *cobra.Command {
	var asJSON, records bool
	c := &cobra.Command{
		Use:   "dump DIR|SEGMENT",
		Short: "Print what is in the files of a log, frame by frame",
		Long: `Print what is in the files of a log, or in one segment: heads, frames, batches, index entries, and
records when they are asked for. Damage is marked, and what lies behind it is printed.

The byte of a frame is where it begins in its file; durable is how many bytes of the file were known
to be synced when it was written.`,
		Example: `  strata dump /var/lib/shop --records
  strata dump /var/lib/shop/log/00000000000000000000-000000.seg --json`,
		Args: arguments("DIR|SEGMENT"),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line, each with its kind")
	c.Flags().BoolVar(&records, "records", false, "print the records as well")
	c.RunE = func(c *cobra.Command, args []string) error {
		d := &dump{app: a, fs: osfs.Default, records: records, names: log.NewNames(), stop: c.Context().Err}
		if d.print = d.text; asJSON {
			d.print = func(v item) error { return a.printJSON(v) }
		}
		return d.run(args[0])
	}
	return c
}

// dump walks files, whatever state they are in, and prints items.
type dump struct {
	app     *app
	fs      vfs.FS
	dir     string // that the segments are in
	records bool
	print   func(item) error
	stop    func() error // not nil: the command was interrupted
	names   *log.Names
	// manifest is nil when there is none, or it does not check.
	manifest *segment.Manifest
	total    totalItem
}

// run dumps the directory of a log, or one segment.
func (d *dump) run(path string) error {
	info, err := d.fs.Stat(path)
	if err != nil {
		return err
	}
	var wanted *segment.Name
	if info.IsDir() {
		d.dir = d.fs.PathJoin(path, "log")
		if _, err := d.fs.Stat(d.dir); errors.Is(err, os.ErrNotExist) {
			return log.ErrNoLog
		}
	} else {
		name, ok := segment.ParseName(d.fs.PathBase(path))
		if !ok {
			return usage("%q is neither a directory nor named as a segment is", path)
		}
		d.dir, wanted = d.fs.PathDir(path), &name
	}
	listing, err := segment.List(d.fs, d.dir)
	if err != nil {
		return err
	}
	if len(listing.Segments) == 0 {
		return log.ErrNoLog
	}
	if d.manifest, err = segment.ReadManifest(d.fs, d.dir); err != nil {
		if !errors.Is(err, segment.ErrCorrupt) {
			return err
		}
		if err := d.damage(err); err != nil {
			return err
		}
	}
	for i, name := range listing.Segments {
		if wanted != nil && name != *wanted {
			continue
		}
		if err := d.segment(listing.Segments, i); err != nil {
			return err
		}
		if err := d.index(name); err != nil {
			return err
		}
	}
	d.total.Kind = "total"
	if d.total.Damaged > 0 {
		d.app.bad = true
	}
	return d.print(&d.total)
}

// damage prints err, when it says which bytes are damaged; otherwise it returns it.
func (d *dump) damage(err error) error {
	d.total.Damaged++
	if c := (*segment.CorruptError)(nil); errors.As(err, &c) {
		return d.print(&damageItem{Kind: "damage", File: c.File, Byte: c.Byte, Position: &c.Position, Check: c.Check, Detail: describe(err)})
	}
	return err
}
