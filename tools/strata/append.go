package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

// appendFlags is what append was asked for.
type appendFlags struct {
	create    bool
	keyColumn int
	keyDelim  string
	partition int32
	batch     int
	sync      durabilityFlag
	compress  codecFlag
	json      bool
	printAcks bool
	// changed reports whether a flag was given.
	changed func(flag string) bool
}

func (a *app) appendCommand() *cobra.Command {
	var f appendFlags
	c := &cobra.Command{
		Use:   "append DIR TOPIC [FILE]",
		Short: "Append a record for each line of a file or of standard input",
		Long: `Append a record for each line of FILE or of standard input.

A record is a line without its line feed; a last line without one is a record too, and an empty line
is a record with an empty value. A commit is sent when it has --batch records, at the end of the
input, and 100 ms after its first record. At the end, also after an error or a signal, one line on
standard error tells how much was acknowledged; that is there for good.`,
		Example: `  strata append /var/lib/shop dpkg --create --key-column 4 /var/log/dpkg.log
  strata read /var/lib/shop orders --output json | strata append /backup orders --create --json`,
		Args:              arguments("DIR", "TOPIC", "[FILE]"),
		ValidArgsFunction: a.completeTopic,
	}
	flags := c.Flags()
	flags.BoolVar(&f.create, "create", false, "create the topic, with one partition, when it is missing")
	flags.Int32Var(&f.partition, "partition", 0, "append to partition `P`, whatever the keys")
	addCodecFlag(c, &f.compress, "compress the batches, in place of what the topic is set to")
	addLineFlags(c, &f)
	c.RunE = func(c *cobra.Command, args []string) error {
		f.changed = flags.Changed
		return a.append(c.Context(), args, &f)
	}
	return c
}

// addLineFlags gives c the flags that say what lines are made of and how they are committed.
func addLineFlags(c *cobra.Command, f *appendFlags) {
	flags := c.Flags()
	flags.IntVar(&f.keyColumn, "key-column", 0, "the `N`-th blank-separated column is the key")
	flags.StringVar(&f.keyDelim, "key-delim", "", "the key stands before the first `S`, the value behind it")
	flags.IntVar(&f.batch, "batch", 100, "`N` records a commit")
	flags.Var(&f.sync, "sync", "what an acknowledgement promises")
	flags.BoolVar(&f.json, "json", false, "lines are what \"read --output json\" prints: key, value, headers and timestamp come back")
	flags.BoolVar(&f.printAcks, "print-acks", false, "print PARTITION OFFSET for each acknowledged record, at once")
	completeFlag(c, "sync", "synced", "written", "buffered")
	c.MarkFlagsMutuallyExclusive("key-column", "key-delim", "json")
}

// durabilityFlag is the value of --sync.
type durabilityFlag struct{ log.Durability }

// Set parses the name of a durability.
func (f *durabilityFlag) Set(name string) error {
	for _, d := range []log.Durability{log.Synced, log.Written, log.Buffered} {
		if d.String() == name {
			f.Durability = d
			return nil
		}
	}
	return errors.New("synced, written or buffered")
}

// Type names the value in help texts.
func (f *durabilityFlag) Type() string { return "synced|written|buffered" }

// maxJSONLine bounds a line in JSON, in which a byte may take six.
const maxJSONLine = 8 * maxLineBytes

func (f *appendFlags) format() (format lineFormat, limit int, err error) {
	switch {
	case f.batch < 1:
		return nil, 0, usage("--batch %d: a commit has at least one record", f.batch)
	case f.changed("key-column") && f.keyColumn < 1:
		return nil, 0, usage("--key-column %d: columns count from 1", f.keyColumn)
	case f.changed("key-delim") && f.keyDelim == "":
		return nil, 0, usage("--key-delim is empty")
	case f.json:
		return parseRecordJSON, maxJSONLine, nil
	case f.changed("key-column"):
		return keyColumn(f.keyColumn), maxLineBytes, nil
	case f.changed("key-delim"):
		return keyDelimiter(f.keyDelim), maxLineBytes, nil
	}
	return wholeLine, maxLineBytes, nil
}

func (a *app) append(ctx context.Context, args []string, f *appendFlags) error {
	format, limit, err := f.format()
	if err != nil {
		return err
	}
	if f.create {
		if err := log.CheckTopicName(args[1]); err != nil {
			return err // before there is a log
		}
	}
	input, size, done, err := a.input(args[2:])
	if err != nil {
		return err
	}
	defer done()
	change := func(o *log.Options) { o.Durability, o.MustExist = f.sync.Durability, !f.create }
	return a.withLog(args[0], change, func(l *log.Log) error {
		p, err := a.newAppender(ctx, l, args[1], f)
		if err != nil {
			return err
		}
		p.format = format
		p.bar = a.inputProgress("append", size, input)
		err = p.run(ctx, readLines(input, limit))
		p.bar.finish()
		a.messages.printf("%s", p.summary())
		return err
	})
}

// input opens the file that is named, or takes standard input. size is -1 when it is not known.
func (a *app) input(file []string) (in io.Reader, size int64, done func(), err error) {
	if len(file) == 0 || file[0] == "-" {
		return a.stdin, -1, func() {}, nil
	}
	f, err := os.Open(file[0])
	if err != nil {
		return nil, 0, nil, err
	}
	size = -1
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, func() { _ = f.Close() }, nil
}

// newAppender finds or creates the topic.
func (a *app) newAppender(ctx context.Context, l *log.Log, name string, f *appendFlags) (*appender, error) {
	t, err := l.Topic(name)
	if errors.Is(err, log.ErrNoTopic) && f.create {
		t, err = l.CreateTopic(ctx, name, log.TopicOptions{})
	}
	if err != nil {
		return nil, err
	}
	p := &appender{app: a, topic: t, batch: f.batch, printAcks: f.printAcks, commit: l.NewCommit(), started: time.Now()}
	if f.changed("compress") {
		p.codec = &f.compress.Codec
	}
	if f.changed("partition") {
		if f.partition < 0 || int(f.partition) >= t.Partitions() {
			return nil, &log.PartitionError{Topic: name, Partition: f.partition, Partitions: t.Partitions()}
		}
		p.partition = t.Partition(f.partition)
	}
	return p, nil
}

// lineError says at which line of the input append gave up.
type lineError struct {
	line int64 // from 1
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, describe(e.err)) }

func (e *lineError) Unwrap() error { return e.err }

// ended returns what an error that ended the input means for the command.
func ended(err error, line int64) error {
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return &lineError{line, err}
}
