package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// report is what the program finds.
type report struct {
	Files     int     `json:"files"`
	Events    uint64  `json:"events"`
	Streams   int     `json:"streams"`
	Installed []entry `json:"installed"`
}

// entry is an installed package.
type entry struct {
	Package string `json:"package"`
	Version string `json:"version"`
}

// topic is that of the events.
const topic = "packages"

// process puts the events of files into the log in dir, and reads the model of what is there.
func process(ctx context.Context, dir string, files []file) (r report, err error) {
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	store, err := aggregate.Open(ctx, l, topic, aggregate.Options{})
	if err != nil {
		return r, err
	}
	im := newImporter(store)
	for _, f := range files {
		for _, line := range f.lines {
			if err := im.add(ctx, line); err != nil {
				return r, err
			}
		}
	}
	if err := im.flush(ctx); err != nil {
		return r, err
	}
	r.Files = len(files)
	return r, r.read(ctx, store)
}

// read carries the model on, and reads it.
func (r *report) read(ctx context.Context, store *aggregate.Store) error {
	m, err := projection.Open(ctx, store.Log(), installed())
	if err != nil {
		return err
	}
	if err := m.CatchUp(ctx); err != nil {
		return err
	}
	r.Installed = []entry{}
	for row, err := range versions.Scan(m, "") {
		if err != nil {
			return err
		}
		r.Installed = append(r.Installed, entry{row.Key, row.Value})
	}
	for i, err := range store.Category(ctx, category) {
		if err != nil {
			return err
		}
		r.Streams++
		r.Events += i.Events()
	}
	return nil
}

func (r *report) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PACKAGE\tVERSION")
	for _, p := range r.Installed {
		fmt.Fprintf(table, "%s\t%s\n", p.Package, p.Version)
	}
	fmt.Fprintf(table, "\n%d events of %d packages in %d files; %d are installed\n", r.Events, r.Streams, r.Files, len(r.Installed))
	return table.Flush()
}
