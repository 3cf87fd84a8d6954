package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/queue"
)

func (a *app) queueDescribeCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "describe DIR QUEUE",
		Short: "Show what a queue was declared with, and its counts",
		Example: `  strata queue describe /var/lib/shop mails
  strata queue describe /var/lib/shop mails --json`,
		Args:              arguments("DIR", "QUEUE"),
		ValidArgsFunction: a.completeQueue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error { return a.describeQueue(c.Context(), l, args[1], asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return c
}

// queueDescription is what a queue was declared with, and its counts. Bounds of 0 are none.
type queueDescription struct {
	queueRow
	Lease       string  `json:"lease"`
	Delay       string  `json:"delay"`
	Attempts    int     `json:"attempts"` // -1 for ever
	FirstWait   string  `json:"backoff"`
	LongestWait string  `json:"backoff_longest"`
	Factor      float64 `json:"backoff_factor"`
	Even        bool    `json:"backoff_even"`
	DeadLetter  string  `json:"dead_letter"` // "" is none: they are dropped
	MaxDepth    int64   `json:"max_depth"`
	MaxBytes    int64   `json:"max_bytes"`
	WhenFull    string  `json:"when_full"`
	Ordered     bool    `json:"ordered"`
	Dedup       string  `json:"dedup"`
	TTL         string  `json:"ttl"`
	MaxInFlight int     `json:"max_in_flight"`
	AutoDelete  bool    `json:"auto_delete"`
	Exclusive   bool    `json:"exclusive"`
	Compression string  `json:"compression"`
}

func (a *app) describeQueue(ctx context.Context, l *log.Log, name string, asJSON bool) error {
	q, err := queue.Open(ctx, l, name)
	if err != nil {
		return err
	}
	row, err := queueRowOf(ctx, q)
	if err != nil {
		return err
	}
	o := q.Options()
	d := queueDescription{
		queueRow: row, Lease: o.Lease.String(), Delay: o.Delay.String(), Attempts: max(o.Retry.Attempts, -1),
		FirstWait: o.Retry.Bound(1).String(), LongestWait: o.Retry.Bound(1 << 30).String(), Factor: o.Retry.Factor, Even: o.Retry.Even,
		DeadLetter: o.DeadLetter, MaxDepth: o.MaxDepth, MaxBytes: o.MaxBytes, WhenFull: o.WhenFull.String(), Ordered: o.Ordered,
		Dedup: o.Dedup.String(), TTL: o.TTL.String(), MaxInFlight: o.MaxInFlight, AutoDelete: o.AutoDelete, Exclusive: o.Exclusive,
		Compression: o.Compression.String(),
	}
	if d.Factor == 0 {
		d.Factor = 2
	}
	if o.Dedup == queue.ForEver {
		d.Dedup = "for ever"
	}
	if asJSON {
		return a.printJSON(d)
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	put := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
	put("queue", d.Queue)
	put("lease", d.Lease)
	put("delay", d.Delay)
	put("attempts", unlessZero(max(int64(d.Attempts), 0), "for ever"))
	put("backoff", fmt.Sprintf("%s, then %v times that, at most %s", d.FirstWait, d.Factor, d.LongestWait))
	if !d.Even {
		put("", "of which a random part is waited")
	}
	put("dead letters", orElse(d.DeadLetter, "dropped"))
	put("max depth", unlessZero(d.MaxDepth, "none"))
	put("max bytes", unlessZero(d.MaxBytes, "none"))
	put("when full", d.WhenFull)
	put("ordered", strconv.FormatBool(d.Ordered))
	put("dedup", orElse(d.Dedup, "none"))
	put("ttl", orElse(d.TTL, "none"))
	put("max in flight", unlessZero(int64(d.MaxInFlight), "none"))
	put("auto-delete", strconv.FormatBool(d.AutoDelete))
	put("exclusive", strconv.FormatBool(d.Exclusive))
	put("compression", d.Compression)
	put("", "")
	put("ready", strconv.FormatInt(d.Ready, 10))
	put("delayed", strconv.FormatInt(d.Delayed, 10))
	put("blocked", strconv.FormatInt(d.Blocked, 10))
	put("leased", strconv.FormatInt(d.Leased, 10))
	put("bytes", strconv.FormatInt(d.Bytes, 10))
	put("oldest", age(time.Duration(d.Oldest*float64(time.Second))))
	put("in the dead letters", strconv.FormatInt(d.DeadLetters, 10))
	put("ever sent", strconv.FormatInt(d.Sent, 10))
	put("done", strconv.FormatInt(d.Done, 10))
	put("dead", strconv.FormatInt(d.Dead, 10))
	put("dropped", strconv.FormatInt(d.Dropped, 10))
	return table.Flush()
}

func unlessZero(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

func orElse(text, none string) string {
	if text == "" || text == "0s" {
		return none
	}
	return text
}
