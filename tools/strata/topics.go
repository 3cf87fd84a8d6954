package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

// topicJSON describes a topic.
type topicJSON struct {
	Topic       string `json:"topic"`
	ID          string `json:"id"`
	Partitions  int    `json:"partitions"`
	Records     int64  `json:"records"`
	Compression string `json:"compression"`
	Partitioner string `json:"partitioner"`
	Kind        string `json:"kind,omitempty"`
	Deleted     bool   `json:"deleted,omitempty"`
}

// describeTopic describes a topic of l.
func describeTopic(l *log.Log, i log.TopicInfo) (topicJSON, error) {
	d := topicJSON{
		Topic: i.Name, ID: i.ID.String(), Partitions: i.Partitions,
		Compression: i.Compression.String(), Partitioner: i.Partitioner.String(), Kind: i.Kind,
	}
	t, err := l.Topic(i.Name)
	if err != nil {
		return d, err
	}
	for p := range i.Partitions {
		d.Records += t.Partition(int32(p)).Next()
	}
	return d, nil
}

func (a *app) topicsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "topics DIR",
		Short: "List the topics, or change one",
		Example: `  strata topics /var/lib/shop
  strata topics alter /var/lib/shop orders --partitions 16
  strata topics delete /var/lib/shop old-orders`,
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error { return a.listTopics(l, asJSON) })
		},
	}
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.AddCommand(a.alterCommand(&asJSON), a.deleteCommand(&asJSON))
	return c
}

func (a *app) listTopics(l *log.Log, asJSON bool) error {
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "TOPIC\tPARTITIONS\tRECORDS\tCOMPRESSION\tPARTITIONER\tID")
	}
	for _, i := range l.Topics() {
		d, err := describeTopic(l, i)
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(d)
		} else {
			_, err = fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%s\t%s\n", d.Topic, d.Partitions, d.Records, d.Compression, d.Partitioner, d.ID)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

func (a *app) alterCommand(asJSON *bool) *cobra.Command {
	var partitions int
	var compress codecFlag
	var partitioner string
	c := &cobra.Command{
		Use:   "alter DIR TOPIC",
		Short: "Give a topic more partitions, or change its compression or partitioner",
		Long: `Give a topic more partitions, or change its compression or partitioner.

After a change of the number of partitions or of the partitioner, keys may go to other partitions
than before.`,
		Example:           "  strata topics alter /var/lib/shop orders --partitions 16 --compress zstd",
		Args:              arguments("DIR", "TOPIC"),
		ValidArgsFunction: a.completeTopic,
	}
	flags := c.Flags()
	flags.IntVar(&partitions, "partitions", 0, "`number` of partitions, not below what it is")
	flags.StringVar(&partitioner, "partitioner", "", "what places a key: `murmur2|fnv1a`")
	addCodecFlag(c, &compress, "compression of batches appended from now on")
	completeFlag(c, "partitioner", "murmur2", "fnv1a")
	c.MarkFlagsOneRequired("partitions", "partitioner", "compress")
	c.RunE = func(c *cobra.Command, args []string) error {
		return a.withLog(args[0], mustExist, func(l *log.Log) error {
			t, err := l.Topic(args[1])
			if err != nil {
				return err
			}
			have := t.Info()
			o := log.TopicOptions{Compression: have.Compression, Partitioner: have.Partitioner}
			if flags.Changed("partitions") {
				if o.Partitions = partitions; partitions < 1 {
					return usage("--partitions %d: a topic has at least one", partitions)
				}
			}
			if flags.Changed("compress") {
				o.Compression = compress.Codec
			}
			switch {
			case !flags.Changed("partitioner"):
			case partitioner == log.Murmur2.String():
				o.Partitioner = log.Murmur2
			case partitioner == log.FNV1a.String():
				o.Partitioner = log.FNV1a
			default:
				return usage("--partitioner %q: murmur2 or fnv1a", partitioner)
			}
			if err := l.AlterTopic(c.Context(), args[1], o); err != nil || !*asJSON {
				return err
			}
			d, err := describeTopic(l, t.Info())
			if err != nil {
				return err
			}
			return a.printJSON(d)
		})
	}
	return c
}

func (a *app) deleteCommand(asJSON *bool) *cobra.Command {
	return &cobra.Command{
		Use:               "delete DIR TOPIC",
		Short:             "Delete a topic with all its records",
		Example:           "  strata topics delete /var/lib/shop old-orders",
		Args:              arguments("DIR", "TOPIC"),
		ValidArgsFunction: a.completeTopic,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLog(args[0], mustExist, func(l *log.Log) error {
				t, err := l.Topic(args[1])
				if err != nil {
					return err
				}
				d, err := describeTopic(l, t.Info())
				if err != nil {
					return err
				}
				if err := l.DeleteTopic(c.Context(), args[1]); err != nil || !*asJSON {
					return err
				}
				d.Deleted = true
				return a.printJSON(d)
			})
		},
	}
}
