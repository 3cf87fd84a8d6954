package main

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

// readFlags is what read was asked for.
type readFlags struct {
	partition int32
	from      string
	count     int64
	key       string
	follow    bool
	unsynced  bool
	output    string
	group     string
	changed   func(flag string) bool // reports whether a flag was given
}

func (a *app) readCommand() *cobra.Command {
	var f readFlags
	c := &cobra.Command{
		Use:   "read DIR TOPIC",
		Short: "Print the records of a topic",
		Long: `Print the records of a topic, those of all partitions in the order in which they were appended.

A start that is an offset holds for each partition that is read; one that is a time is, in each of
them, the first record with that timestamp or a later one. Where the log is damaged, every intact
record is printed, each gap is named on standard error, and the exit status is 1.

With --group it goes on where that consumer group was, and at the end, or when a signal comes, exactly
what was printed is committed; what a killed process has printed and not committed comes again. Records
of different partitions then come in turns. It writes, so no other program may have the log open.`,
		Example: `  strata read /var/lib/shop orders --partition 3 --from 1000 --count 10
  strata read /var/lib/shop orders --from 2026-05-01T00:00:00Z --output json
  strata read /var/lib/shop orders --from newest --follow
  strata read /var/lib/shop orders --group mails --count 1000`,
		Args:              arguments("DIR", "TOPIC"),
		ValidArgsFunction: a.completeTopic,
	}
	flags := c.Flags()
	flags.Int32Var(&f.partition, "partition", 0, "print partition `P` only")
	flags.StringVar(&f.from, "from", "oldest", "where to begin: `oldest|newest|OFFSET|TIME`, the time in RFC 3339")
	flags.Int64Var(&f.count, "count", 0, "end after `N` records")
	flags.StringVar(&f.key, "key", "", "print records with key `K` only")
	flags.BoolVar(&f.follow, "follow", false, "wait for more records, until a signal comes")
	flags.BoolVar(&f.unsynced, "unsynced", false, "show records that a power cut may still take back")
	flags.StringVar(&f.output, "output", "value", "`value|json`: the values as lines, or an object each")
	flags.StringVar(&f.group, "group", "", "go on where group `G` was; --from holds where it has not been yet")
	completeFlag(c, "from", "oldest", "newest")
	completeFlag(c, "output", "value", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		f.changed = flags.Changed
		return a.read(c.Context(), args[0], args[1], &f)
	}
	return c
}

// parseStart parses the value of a flag that says where to begin.
func parseStart(flag, value string) (log.Start, error) {
	switch value {
	case "oldest":
		return log.Oldest, nil
	case "newest":
		return log.Newest, nil
	}
	if offset, err := strconv.ParseInt(value, 10, 64); err == nil && offset >= 0 {
		return log.AtOffset(offset), nil
	}
	if t, err := time.Parse(time.RFC3339, value); err == nil {
		return log.AtTime(t), nil
	}
	return log.Start{}, usage("%s %q: oldest, newest, an offset, or a time as in 2006-01-02T15:04:05Z", flag, value)
}

// appendRecord appends the line that is printed for r.
func (f *readFlags) appendRecord(text []byte, r *log.Record) []byte {
	if f.output == "json" {
		text = appendRecordJSON(text, "", r)
	} else {
		text = append(text, r.Value...)
	}
	return append(text, '\n')
}

func (a *app) read(ctx context.Context, dir, name string, f *readFlags) error {
	start, err := parseStart("--from", f.from)
	switch {
	case err != nil:
		return err
	case f.count < 0:
		return usage("--count %d", f.count)
	case f.output != "value" && f.output != "json":
		return usage("--output %q: value or json", f.output)
	}
	if f.changed("group") {
		return a.readGroup(ctx, dir, name, f, start)
	}
	return a.withReader(dir, func(l *log.Log) error {
		t, err := l.Topic(name)
		if err != nil {
			return err
		}
		if f.changed("count") && f.count == 0 {
			return nil
		}
		err = a.printRecords(ctx, f, f.records(ctx, t, start))
		if f.follow && errors.Is(err, context.Canceled) {
			return nil // that is how following ends
		}
		return err
	})
}

// records returns what is to be printed.
func (f *readFlags) records(ctx context.Context, t *log.Topic, start log.Start) iter.Seq2[log.Record, error] {
	o := log.ReadOptions{Unsynced: f.unsynced}
	one := f.changed("partition")
	switch {
	case one && f.follow:
		return t.Partition(f.partition).Follow(ctx, start, o)
	case one:
		return t.Partition(f.partition).Read(start, o)
	case f.follow:
		return t.Follow(ctx, start, o)
	}
	return t.Read(start, o)
}

// printRecords prints records and names gaps until count is reached, the records end, or something
// else than damage goes wrong.
func (a *app) printRecords(ctx context.Context, f *readFlags, records iter.Seq2[log.Record, error]) error {
	var text []byte
	left := f.count
	for r, err := range records {
		switch {
		case ctx.Err() != nil:
			return context.Canceled
		case errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrLost):
			a.messages.printf("%s", describe(err))
			a.bad = true
			continue
		case err != nil:
			return err
		case f.changed("key") && (r.Key == nil || !bytes.Equal(r.Key, []byte(f.key))):
			continue
		}
		text = f.appendRecord(text[:0], &r)
		if _, err := a.out.Write(text); err != nil {
			return err
		}
		if f.follow {
			a.out.FlushSoon()
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}
