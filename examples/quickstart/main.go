package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/stratalog/strata/log"
)

// packageLog is a part of the log that dpkg keeps of what it installs: a line is a date, a time, an
// action, and mostly the package that it is about.
//
//go:embed testdata/dpkg.log
var packageLog []byte

const (
	topicName  = "dpkg"
	partitions = 8
	batchLines = 100 // lines that are committed together
)

func main() {
	if err := run(context.Background(), os.Stdout, packageLog); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run does all of it, in a directory that is gone afterwards.
func run(ctx context.Context, out io.Writer, text []byte) (err error) {
	dir, err := os.MkdirTemp("", "strata-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	started := time.Now()
	places, err := write(ctx, dir, text)
	if err != nil {
		return err
	}
	wrote := time.Since(started)

	started = time.Now()
	if err := compare(dir, text, places); err != nil {
		return err
	}
	read := time.Since(started)

	// Nobody has the log open now, so every byte of it can be judged.
	report, err := log.Verify(ctx, dir, log.VerifyOptions{})
	if err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		return fmt.Errorf("the log is damaged: %+v", report.Findings)
	}

	lines := len(places)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "lines\t%d\t%d bytes, %d partitions, %d lines a commit\n", lines, len(text), partitions, batchLines)
	fmt.Fprintf(table, "appended\t%.1f ms\t%.0f lines/s, each commit synced to disk before the next\n", millis(wrote), float64(lines)/wrote.Seconds())
	fmt.Fprintf(table, "read back\t%.1f ms\t%.0f lines/s, equal byte for byte, every partition in order\n", millis(read), float64(lines)/read.Seconds())
	fmt.Fprintf(table, "verified\tclean\t%d segment(s), %d frames, %d batches\n", report.Segments, report.Frames, report.Batches)
	return table.Flush()
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

// place is where a record was put: its partition, and its number there.
type place struct {
	partition int32
	offset    int64
}

// write opens a log, which creates it, and appends every line of text to a topic. Lines about the same
// package have the same key, so they go to the same partition and stay in order there. It returns the
// place of each line.
func write(ctx context.Context, dir string, text []byte) (places []place, err error) {
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	topic, err := l.CreateTopic(ctx, topicName, log.TopicOptions{Partitions: partitions})
	if err != nil {
		return nil, err
	}
	for lines := range slices.Chunk(slices.Collect(bytes.Lines(text)), batchLines) {
		var batch []log.Record
		for _, line := range lines {
			batch = append(batch, log.Record{Key: packageOf(line), Value: line})
		}
		// One commit: when it returns, all of it is on disk; when it fails, nothing of it is there.
		result, err := topic.Append(ctx, batch...)
		if err != nil {
			return nil, err
		}
		for i := range batch {
			partition, offset, _ := result.Record(i)
			places = append(places, place{partition, offset})
		}
	}
	return places, nil
}

// packageOf returns the fourth column of a line, which names a package, or nil.
func packageOf(line []byte) []byte {
	if columns := bytes.Fields(line); len(columns) >= 4 {
		return columns[3]
	}
	return nil
}

// compare opens the log again, reads every partition, puts each record where its line was in the text,
// and compares the two.
func compare(dir string, text []byte, places []place) (err error) {
	l, err := log.Open(dir, log.Options{MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	topic, err := l.Topic(topicName)
	if err != nil {
		return err
	}
	lineAt := map[place]int{}
	for line, at := range places {
		lineAt[at] = line
	}
	lines := make([][]byte, len(places))
	for p := range int32(topic.Partitions()) {
		before := -1
		for record, err := range topic.Partition(p).Read(log.Oldest) {
			if err != nil {
				return err
			}
			line, known := lineAt[place{p, record.Offset}]
			if !known || line <= before {
				return fmt.Errorf("partition %d: offset %d was never given, or is out of order", p, record.Offset)
			}
			before = line
			lines[line] = bytes.Clone(record.Value) // the bytes of a record are lent for one turn of the loop
		}
	}
	if i := slices.IndexFunc(lines, func(line []byte) bool { return line == nil }); i >= 0 {
		return fmt.Errorf("line %d of the text was not read back", i+1)
	}
	if again := bytes.Join(lines, nil); !bytes.Equal(again, text) {
		return fmt.Errorf("what was read differs from what was appended: %d bytes, not %d", len(again), len(text))
	}
	return nil
}
