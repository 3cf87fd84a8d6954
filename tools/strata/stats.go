package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/segment"
)

// statsJSON is what a log is like.
type statsJSON struct {
	// Segments and Indexes count files, SegmentBytes and IndexBytes are their sizes: prepared zeros
	// are among them.
	Segments     int   `json:"segments"`
	SegmentBytes int64 `json:"segment_bytes"`
	Indexes      int   `json:"indexes"`
	IndexBytes   int64 `json:"index_bytes"`
	// Topics, Partitions and Records are without the engine's own.
	Topics     int   `json:"topics"`
	Partitions int   `json:"partitions"`
	Records    int64 `json:"records"`
	// SystemRecords are the engine's own, Position is behind the last of all.
	SystemRecords int64  `json:"system_records"`
	Position      uint64 `json:"position"`
}

func (a *app) statsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:               "stats DIR",
		Short:             "Print how much is in a log",
		Example:           "  strata stats /var/lib/shop --json",
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object")
	c.RunE = func(_ *cobra.Command, args []string) error {
		return a.withReader(args[0], func(l *log.Log) error {
			s, err := statsOf(l)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(s)
			}
			return a.printStats(s)
		})
	}
	return c
}

func statsOf(l *log.Log) (statsJSON, error) {
	s := statsJSON{Position: l.Position()}
	for _, i := range l.Topics() {
		d, err := describeTopic(l, i)
		if err != nil {
			return s, err
		}
		s.Topics++
		s.Partitions += d.Partitions
		s.Records += d.Records
	}
	for _, i := range l.SystemTopics() {
		d, err := describeTopic(l, i)
		if err != nil {
			return s, err
		}
		s.SystemRecords += d.Records
	}
	files, err := os.ReadDir(filepath.Join(l.Dir(), "log"))
	if err != nil {
		return s, err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			continue // it has gone meanwhile
		}
		switch {
		case strings.HasSuffix(f.Name(), segment.Ext):
			s.Segments++
			s.SegmentBytes += info.Size()
		case strings.HasSuffix(f.Name(), segment.IndexExt):
			s.Indexes++
			s.IndexBytes += info.Size()
		}
	}
	return s, nil
}

func (a *app) printStats(s statsJSON) error {
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name  string
		value any
	}{
		{"segments", s.Segments}, {"segment bytes", s.SegmentBytes}, {"indexes", s.Indexes}, {"index bytes", s.IndexBytes},
		{"topics", s.Topics}, {"partitions", s.Partitions}, {"records", s.Records}, {"system records", s.SystemRecords},
		{"position", s.Position},
	} {
		fmt.Fprintf(table, "%s\t%d\n", row.name, row.value)
	}
	return table.Flush()
}
