package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
	"github.com/stratalog/strata/record"
)

func (a *app) queueCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Work with queues",
		Long: `Work with queues. "ls", "describe" and "peek" work beside a running program; the others need the
directory to themselves.`,
		Example: `  strata queue create /var/lib/shop mails
  strata queue ls /var/lib/shop`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		a.queueCreateCommand(), a.queueSendCommand(), a.queueReceiveCommand(), a.queueAckCommand(),
		a.queueListCommand(), a.queueDescribeCommand(), a.queuePeekCommand(), a.queuePurgeCommand(), a.queueRedriveCommand(), a.queueDeleteCommand(),
	)
	return c
}

func (a *app) queueCreateCommand() *cobra.Command {
	var o queue.Options
	var compress codecFlag
	var wait, forEver bool
	c := &cobra.Command{
		Use:   "create DIR QUEUE",
		Short: "Declare a queue, and the queue of its dead letters",
		Long: `Declare a queue, and the queue of its dead letters. One that is there already with the same
options is left as it is; with others it is an error that names the first one that differs.`,
		Example: `  strata queue create /var/lib/shop mails --attempts 8 --backoff 1s
  strata queue create /var/lib/shop payments --ordered --lease 5m`,
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: completeDirectory,
		RunE: func(c *cobra.Command, args []string) error {
			if wait {
				o.WhenFull = queue.WaitWhenFull
			}
			if forEver {
				o.Dedup = queue.ForEver
			}
			o.Compression = compress.Codec
			if err := log.CheckTopicName(args[1]); err != nil {
				return err // before there is a log
			}
			return a.withLog(args[0], nil, func(l *log.Log) error {
				_, err := queue.Declare(c.Context(), l, args[1], o)
				return err
			})
		},
	}
	f := c.Flags()
	f.DurationVar(&o.Lease, "lease", 0, "a message is its receiver's for so long (default 30s)")
	f.DurationVar(&o.Delay, "delay", 0, "each message waits so long before it can be received")
	f.IntVar(&o.Retry.Attempts, "attempts", 0, "a message is tried `N` times at most, -1 for ever (default 5)")
	f.DurationVar(&o.Retry.First, "backoff", 0, "the longest wait behind the first attempt (default 200ms)")
	f.DurationVar(&o.Retry.Longest, "backoff-longest", 0, "the longest wait behind any attempt (default 1m)")
	f.Float64Var(&o.Retry.Factor, "backoff-factor", 0, "by how much the wait grows from attempt to attempt (default 2)")
	f.BoolVar(&o.Retry.Even, "backoff-even", false, "wait the longest time each time, in place of a random part of it")
	f.StringVar(&o.DeadLetter, "dead-letter", "", "the `queue` of the dead letters (default QUEUE.dead)")
	f.BoolVar(&o.Discard, "discard", false, "drop what would be a dead letter")
	f.Int64Var(&o.MaxDepth, "max-depth", 0, "the queue holds `N` messages at most")
	f.Int64Var(&o.MaxBytes, "max-bytes", 0, "the queue holds `N` bytes of keys and values at most")
	f.BoolVar(&wait, "wait-when-full", false, "programs that send to a full queue wait, rather than get an error")
	f.BoolVar(&o.Ordered, "ordered", false, "messages of a key are received in order, each when the one before is done with")
	f.DurationVar(&o.Dedup, "dedup", 0, "a message with the deduplication id of an earlier one is not sent again for so long")
	f.BoolVar(&forEver, "dedup-for-ever", false, "nor ever")
	c.MarkFlagsMutuallyExclusive("dedup", "dedup-for-ever")
	f.DurationVar(&o.TTL, "ttl", 0, "messages can be received for so long")
	f.IntVar(&o.MaxInFlight, "max-in-flight", 0, "`N` messages are leased at a time at most")
	f.BoolVar(&o.AutoDelete, "auto-delete", false, "the queue ends with the last program that works it")
	addCodecFlag(c, &compress, "compression of the messages (default none)")
	return c
}

// queueRow describes a queue.
type queueRow struct {
	Queue       string  `json:"queue"`
	Ready       int64   `json:"ready"`
	Delayed     int64   `json:"delayed"`
	Blocked     int64   `json:"blocked"`
	Leased      int64   `json:"leased"`
	Bytes       int64   `json:"bytes"`
	DeadLetters int64   `json:"dead_letters"`
	Sent        int64   `json:"sent"`
	Done        int64   `json:"done"`
	Dead        int64   `json:"dead"`
	Dropped     int64   `json:"dropped"`
	Oldest      float64 `json:"oldest_seconds"`
}

func queueRowOf(ctx context.Context, q *queue.Queue) (queueRow, error) {
	s, err := q.Stats(ctx)
	return queueRow{
		q.Name(), s.Ready, s.Delayed, s.Blocked, s.Leased, s.Bytes, s.DeadLetters, s.Sent, s.Done, s.Dead, s.Dropped, s.Oldest.Seconds(),
	}, err
}

func (a *app) queueListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls DIR [QUEUE]",
		Short: "List the queues, or what of one is leased",
		Long: `List the queues: how many messages are ready, delayed, blocked behind another of their key,
leased, how many lie in the queue of the dead letters, and how old the oldest is that is ready.
With QUEUE, list what of it is leased, by whom and until when.`,
		Example: `  strata queue ls /var/lib/shop
  strata queue ls /var/lib/shop mails --json`,
		Args:              arguments("DIR", "[QUEUE]"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error {
				if len(args) == 2 {
					return a.listLeases(c.Context(), l, args[1], asJSON)
				}
				return a.listQueues(c.Context(), l, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	return c
}

func (a *app) listQueues(ctx context.Context, l *log.Log, asJSON bool) error {
	names, err := queue.List(ctx, l)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "QUEUE\tREADY\tDELAYED\tBLOCKED\tLEASED\tDEAD\tBYTES\tOLDEST")
	}
	for _, name := range names {
		q, err := queue.Open(ctx, l, name)
		if err != nil {
			return err
		}
		r, err := queueRowOf(ctx, q)
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(r)
		} else {
			_, err = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", name, r.Ready, r.Delayed, r.Blocked, r.Leased, r.DeadLetters,
				r.Bytes, age(time.Duration(r.Oldest*float64(time.Second))))
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// countMessages returns so many of them, in words.
func countMessages(n int64) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

func age(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return d.Round(time.Millisecond).String()
}

func (a *app) listLeases(ctx context.Context, l *log.Log, name string, asJSON bool) error {
	q, err := queue.Open(ctx, l, name)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "ID\tATTEMPT\tOWNER\tUNTIL")
	}
	for m, err := range q.Leases(ctx) {
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(messageRowOf(m))
		} else {
			until := moment(m.Until)
			if m.Until.IsZero() {
				until = "held"
			}
			_, err = fmt.Fprintf(table, "%d\t%d\t%s\t%s\n", m.ID, m.Attempts, dash(m.Owner), until)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

func (a *app) queuePurgeCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "purge DIR QUEUE",
		Short:             "Drop all messages of a queue that are not leased",
		Example:           "  strata queue purge /var/lib/shop mails",
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withQueue(c.Context(), args, func(q *queue.Queue) error {
				n, err := q.Purge(c.Context())
				a.messages.printf("%s dropped", countMessages(n))
				return err
			})
		},
	}
}

func (a *app) queueDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "delete DIR QUEUE",
		Short:             "End a queue and drop its messages; its dead letters stay",
		Example:           "  strata queue delete /var/lib/shop mails",
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLog(args[0], mustExist, func(l *log.Log) error { return queue.Delete(c.Context(), l, args[1]) })
		},
	}
}

func (a *app) queueRedriveCommand() *cobra.Command {
	var o queue.RedriveOptions
	var cause, origin string
	var alive int64 // messages that are no dead letters
	c := &cobra.Command{
		Use:   "redrive DIR QUEUE",
		Short: "Move dead letters back to where they died, or elsewhere",
		Long: `Move messages of QUEUE, a queue of dead letters, back to the queue in which they died, or to
another one, where they are tried again from the first attempt on.`,
		Example: `  strata queue redrive /var/lib/shop mails.dead
  strata queue redrive /var/lib/shop mails.dead --cause timeout --max 100 --rate 10`,
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			o.Filter = func(m *queue.Info) bool {
				d, err := record.ParseDead(m.Record.Headers)
				if err != nil {
					alive++
				}
				return err == nil && strings.Contains(d.Cause, cause) && (origin == "" || d.Topic == origin)
			}
			return a.withQueue(c.Context(), args, func(q *queue.Queue) error {
				n, err := q.Redrive(c.Context(), o)
				a.messages.printf("%s moved", countMessages(int64(n)))
				if alive > 0 {
					a.messages.printf("%s passed over: no dead letters", countMessages(alive))
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&o.To, "to", "", "move them to this `queue`")
	c.Flags().StringVar(&cause, "cause", "", "only those whose error contains `text`")
	c.Flags().StringVar(&origin, "from", "", "only those that died in this `queue`")
	c.Flags().IntVar(&o.Max, "max", 0, "`N` messages at most")
	c.Flags().Float64Var(&o.Rate, "rate", 0, "`N` messages a second at most")
	return c
}

// withQueue opens the log and the queue that args name for writing.
func (a *app) withQueue(ctx context.Context, args []string, do func(*queue.Queue) error) error {
	return a.withLog(args[0], mustExist, func(l *log.Log) error {
		q, err := queue.Open(ctx, l, args[1])
		if err != nil {
			return err
		}
		return do(q)
	})
}

// completeQueue completes a directory, and then a queue of the log in it.
func (a *app) completeQueue(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeDirectory(nil, args, "")
	}
	var names []string
	err := a.withReader(args[0], func(l *log.Log) (err error) {
		names, err = queue.List(context.Background(), l)
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
