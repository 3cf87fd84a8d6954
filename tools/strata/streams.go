package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// streamJSON describes a stream.
type streamJSON struct {
	Topic     string `json:"topic"`
	Stream    string `json:"stream"`
	Version   uint64 `json:"version"`
	First     uint64 `json:"first"`
	Events    uint64 `json:"events"`
	Tombstone bool   `json:"tombstone"`
}

// streamsFlags are those of streams.
type streamsFlags struct {
	topic, prefix, category string
	asJSON                  bool
}

func (a *app) streamsCommand() *cobra.Command {
	f := &streamsFlags{}
	c := &cobra.Command{
		Use:   "streams DIR",
		Short: "List the event streams",
		Long: `List the event streams by name: topic, the version of the last event, the first version that is not
truncated, and how many events that leaves. A stream that was ended is listed with its tombstone.`,
		Example: `  strata streams /var/lib/shop
  strata streams /var/lib/shop --prefix order-2026
  strata streams /var/lib/shop --category order --json`,
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
		RunE: func(c *cobra.Command, args []string) error {
			if f.prefix != "" && f.category != "" {
				return usage("--prefix or --category, not both")
			}
			return a.withReader(args[0], func(l *log.Log) error { return a.listStreams(c.Context(), l, f) })
		},
	}
	c.Flags().StringVar(&f.topic, "topic", "", "only the streams in this `topic`")
	c.Flags().StringVar(&f.prefix, "prefix", "", "only streams whose names begin with `text`")
	c.Flags().StringVar(&f.category, "category", "", "only streams of this `category`: what stands in front of the first -")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print an object a line")
	return c
}

// eventStores opens the event stores of l, or the one in topic.
func eventStores(ctx context.Context, l *log.Log, topic string) ([]*aggregate.Store, error) {
	names := aggregate.Stores(l)
	if topic != "" {
		names = []string{topic}
	}
	var list []*aggregate.Store
	for _, name := range names {
		s, err := aggregate.Open(ctx, l, name, aggregate.Options{})
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func (a *app) listStreams(ctx context.Context, l *log.Log, f *streamsFlags) error {
	stores, err := eventStores(ctx, l, f.topic)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !f.asJSON {
		fmt.Fprintln(table, "TOPIC\tSTREAM\tVERSION\tFIRST\tEVENTS\tSTATE")
	}
	for _, s := range stores {
		var streams iter.Seq2[aggregate.Info, error]
		if f.category != "" {
			streams = s.Category(ctx, f.category)
		} else {
			streams = s.Streams(ctx, f.prefix)
		}
		for i, err := range streams {
			if err != nil {
				return err
			}
			if f.asJSON {
				err = a.printJSON(streamJSON{s.Topic(), i.Stream, i.Version, i.First, i.Events(), i.Tombstone})
			} else {
				state := "-"
				if i.Tombstone {
					state = "tombstone"
				}
				_, err = fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\n", s.Topic(), i.Stream, i.Version, i.First, i.Events(), state)
			}
			if err != nil {
				return err
			}
		}
	}
	return table.Flush()
}

// findStream returns the store that has a stream.
func findStream(ctx context.Context, l *log.Log, topic, stream string) (*aggregate.Store, error) {
	stores, err := eventStores(ctx, l, topic)
	if err != nil {
		return nil, err
	}
	var found *aggregate.Store
	for _, s := range stores {
		switch _, err := s.Info(ctx, stream); {
		case errors.Is(err, aggregate.ErrNoStream):
		case err != nil:
			return nil, err
		case found != nil:
			return nil, usage("stream %q is in %q and in %q: --topic says which", stream, found.Topic(), s.Topic())
		default:
			found = s
		}
	}
	if found == nil {
		return nil, &aggregate.StreamError{Stream: stream}
	}
	return found, nil
}
