package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
)

func (a *app) queueSendCommand() *cobra.Command {
	var f appendFlags
	var m queue.Message
	c := &cobra.Command{
		Use:   "send DIR QUEUE [FILE]",
		Short: "Send a message for each line of a file or of standard input",
		Long: `Send a message for each line of FILE or of standard input, as "append" takes lines: a commit is
sent when it has --batch messages, at the end of the input, and 100 ms after its first one.`,
		Example: `  strata queue send /var/lib/shop mails addresses.txt
  echo reminder | strata queue send /var/lib/shop mails --delay 24h --print-acks`,
		Args:              arguments("DIR", "QUEUE", "[FILE]"),
		ValidArgsFunction: a.completeQueue,
	}
	flags := c.Flags()
	addLineFlags(c, &f)
	flags.DurationVar(&m.Delay, "delay", 0, "the messages wait so long before they can be received, negative for not at all (default: as the queue was declared)")
	flags.IntVar(&m.Priority, "priority", 0, "0 to 9; high ones are received first")
	flags.DurationVar(&m.TTL, "ttl", 0, "the messages can be received for so long")
	flags.IntVar(&m.Attempts, "attempts", 0, "they are tried `N` times at most, -1 for ever")
	flags.StringVar(&m.ContentType, "content-type", "", "the media `type` of the values")
	c.RunE = func(c *cobra.Command, args []string) error {
		f.changed = flags.Changed
		return a.queueSend(c.Context(), args, &f, m)
	}
	return c
}

func (a *app) queueSend(ctx context.Context, args []string, f *appendFlags, like queue.Message) error {
	format, limit, err := f.format()
	if err != nil {
		return err
	}
	input, size, done, err := a.input(args[2:])
	if err != nil {
		return err
	}
	defer done()
	change := func(o *log.Options) { o.Durability, o.MustExist = f.sync.Durability, true }
	return a.withLog(args[0], change, func(l *log.Log) error {
		q, err := queue.Open(ctx, l, args[1])
		if err != nil {
			return err
		}
		p := &appender{app: a, batch: f.batch, printAcks: f.printAcks, commit: l.NewCommit(), started: time.Now(), format: format}
		p.stage = func(c *log.Commit, r *log.Record) error {
			m := like
			m.Key, m.Value, m.Headers = r.Key, r.Value, r.Headers
			return q.Stage(c, m)
		}
		p.bar = a.inputProgress("send", size, input)
		err = p.run(ctx, readLines(input, limit))
		p.bar.finish()
		a.messages.printf("%s", strings.ReplaceAll(p.summary(), "records", "messages"))
		return err
	})
}

// receiveFlags are those of receive.
type receiveFlags struct {
	count     int
	ack, nack bool
	wait      time.Duration
	lease     time.Duration
	owner     string
}

func (a *app) queueReceiveCommand() *cobra.Command {
	f := &receiveFlags{}
	c := &cobra.Command{
		Use:   "receive DIR QUEUE",
		Short: "Receive messages and print them as JSON, one a line",
		Long: `Receive messages and print them as JSON, one a line: id, attempt, receipt, until, and the record.
They stay leased until then, unless --ack or --nack says what becomes of them; what was not
printed is given back. "queue ack" takes a receipt.`,
		Example: `  strata queue receive /var/lib/shop mails --count 10 --ack
  strata queue receive /var/lib/shop mails --lease 10m --wait 1m`,
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			if f.count < 1 {
				return usage("--count %d: at least one message is received", f.count)
			}
			return a.withQueue(c.Context(), args, func(q *queue.Queue) error { return a.queueReceive(c.Context(), q, f) })
		},
	}
	c.Flags().IntVar(&f.count, "count", 1, "`N` messages at most")
	c.Flags().BoolVar(&f.ack, "ack", false, "take the messages off the queue when they are printed")
	c.Flags().BoolVar(&f.nack, "nack", false, "give the messages back as failed when all are printed")
	c.Flags().DurationVar(&f.wait, "wait", 0, "wait so long for the first message, negative for ever")
	c.Flags().DurationVar(&f.lease, "lease", 0, "lease the messages for so long, in place of what the queue was declared with")
	c.Flags().StringVar(&f.owner, "owner", "", "the `name` of who has the messages")
	c.MarkFlagsMutuallyExclusive("ack", "nack")
	return c
}

// errNacked is the cause that receive --nack gives.
var errNacked = errors.New("given back by strata queue receive --nack")

func (a *app) queueReceive(ctx context.Context, q *queue.Queue, f *receiveFlags) error {
	const atOnce = 1000
	wait := f.wait
	var failed []*queue.Delivery
	for left := f.count; left > 0; {
		ms, err := q.Receive(ctx, queue.ReceiveOptions{
			Max: min(left, atOnce), Wait: wait, Lease: f.lease, Owner: f.owner, Synced: true,
		})
		if err != nil {
			return errors.Join(err, nackAll(ctx, failed))
		}
		if len(ms) == 0 {
			break
		}
		left, wait = left-len(ms), 0
		printed, err := a.printDeliveries(ms)
		if f.ack {
			err = errors.Join(err, q.Ack(context.WithoutCancel(ctx), ms[:printed]...))
		}
		if f.nack {
			failed = append(failed, ms[:printed]...) // till the end, so that none is received twice
		}
		for _, m := range ms[printed:] {
			err = errors.Join(err, m.Release(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return errors.Join(err, nackAll(ctx, failed))
		}
	}
	return nackAll(ctx, failed)
}

func nackAll(ctx context.Context, ms []*queue.Delivery) error {
	var errs []error
	for _, m := range ms {
		errs = append(errs, m.Nack(context.WithoutCancel(ctx), errNacked))
	}
	return errors.Join(errs...)
}

// printDeliveries prints messages, and returns how many of them were printed.
func (a *app) printDeliveries(ms []*queue.Delivery) (int, error) {
	for i, m := range ms {
		if err := a.printDelivery(m); err != nil {
			return i, err
		}
	}
	return len(ms), nil
}

// printDelivery prints a message, at once, so that what becomes of it comes behind.
func (a *app) printDelivery(m *queue.Delivery) error {
	b := append([]byte(nil), `"id":`...)
	b = strconv.AppendInt(b, m.ID(), 10)
	b = append(b, `,"attempt":`...)
	b = strconv.AppendInt(b, int64(m.Attempt), 10)
	b = append(b, `,"receipt":`...)
	b = appendString(b, m.Receipt())
	b = append(b, `,"until":`...)
	b = appendString(b, moment(m.Until))
	b = append(b, ',')
	if _, err := a.out.Write(append(appendRecordJSON(nil, string(b), &m.Record), '\n')); err != nil {
		return err
	}
	return a.out.Flush()
}

func (a *app) queueAckCommand() *cobra.Command {
	var nack bool
	c := &cobra.Command{
		Use:   "ack DIR QUEUE RECEIPT...",
		Short: "Take messages off a queue by their receipts, or give them back",
		Example: `  strata queue ack /var/lib/shop mails AAAAAAAAAAUX1xMGS39x8gAAAAAAAAAA
  strata queue ack /var/lib/shop mails --nack AAAAAAAAAAUX1xMGS39x8gAAAAAAAAAA`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 3 {
				return usage("%s is missing", []string{"DIR", "QUEUE", "RECEIPT"}[len(args)])
			}
			return nil
		},
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withQueue(c.Context(), args, func(q *queue.Queue) error {
				for _, receipt := range args[2:] {
					m, err := q.Redeem(c.Context(), receipt)
					if err == nil && nack {
						err = m.Nack(c.Context(), errNacked)
					} else if err == nil {
						err = m.Ack(c.Context())
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&nack, "nack", false, "give the messages back as failed")
	return c
}

// messageRow describes a message of a queue.
type messageRow struct {
	ID       int64      `json:"id"`
	State    string     `json:"state"`
	Attempts int        `json:"attempts"`
	Due      *time.Time `json:"due,omitempty"`
	Owner    string     `json:"owner,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Cause    string     `json:"cause,omitempty"`
	History  []attempt  `json:"history,omitempty"`
	Origin   string     `json:"origin,omitempty"`
	Key      *string    `json:"key"`
	Value    string     `json:"value"`
	Bytes    int        `json:"bytes"`
}

type attempt struct {
	Time  time.Time `json:"time"`
	Cause string    `json:"cause"`
}

func messageRowOf(m *queue.Info) messageRow {
	r := messageRow{ID: m.ID, State: m.State.String(), Attempts: m.Attempts, Owner: m.Owner, Value: string(m.Record.Value), Bytes: len(m.Record.Value)}
	if !utf8.ValidString(r.Value) {
		r.Value = strconv.QuoteToASCII(r.Value)
	}
	if m.Record.Key != nil {
		key := string(m.Record.Key)
		r.Key = &key
	}
	if !m.Due.IsZero() {
		r.Due = &m.Due
	}
	if !m.Until.IsZero() {
		r.Until = &m.Until
	}
	for _, h := range m.History {
		r.History = append(r.History, attempt(h))
		r.Cause = h.Cause
	}
	if d, err := record.ParseDead(m.Record.Headers); err == nil {
		r.Cause, r.Origin = d.Cause, fmt.Sprintf("%s/%d@%d", d.Topic, d.Partition, d.Offset)
		r.History = nil
		for _, h := range d.History {
			r.History = append(r.History, attempt{h.Time, h.Cause})
		}
		if r.Attempts == 0 {
			r.Attempts = d.Attempts
		}
	}
	return r
}

func (a *app) queuePeekCommand() *cobra.Command {
	var count int
	var asJSON bool
	c := &cobra.Command{
		Use:   "peek DIR QUEUE",
		Short: "Show messages of a queue without receiving them",
		Long: `Show messages of a queue without receiving them: what is leased, ready, delayed, blocked. Of a
dead letter it shows how often it was tried, with which error it died, and where.`,
		Example: `  strata queue peek /var/lib/shop mails.dead
  strata queue peek /var/lib/shop mails --count 100 --json`,
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			if count < 1 {
				return usage("--count %d: at least one message is shown", count)
			}
			return a.withReader(args[0], func(l *log.Log) error { return a.queuePeek(c.Context(), l, args[1], count, asJSON) })
		},
	}
	c.Flags().IntVar(&count, "count", 10, "`N` messages at most")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

func (a *app) queuePeek(ctx context.Context, l *log.Log, name string, count int, asJSON bool) error {
	q, err := queue.Open(ctx, l, name)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "ID\tSTATE\tATTEMPTS\tDUE\tORIGIN\tCAUSE\tKEY\tVALUE")
	}
	for m, err := range q.Messages(ctx) {
		if err != nil {
			return err
		}
		row := messageRowOf(m)
		if asJSON {
			err = a.printJSON(row)
		} else {
			key := "-"
			if row.Key != nil {
				key = strconv.Quote(*row.Key)
			}
			_, err = fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", row.ID, row.State, row.Attempts, moment(m.Due),
				dash(row.Origin), dash(firstLine(row.Cause)), key, strconv.Quote(clip(row.Value)))
		}
		if err != nil {
			return err
		}
		if count--; count == 0 {
			break
		}
	}
	return table.Flush()
}

// clip returns the beginning of a text.
func clip(text string) string {
	const most = 60
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
