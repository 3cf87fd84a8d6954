package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/consumer"
	"github.com/stratalog/strata/log"
)

// groupJSON describes a group.
type groupJSON struct {
	Group      string           `json:"group"`
	Generation uint32           `json:"generation"`
	Assignor   string           `json:"assignor"`
	Lag        int64            `json:"lag"`
	Members    []memberJSON     `json:"members"`
	Offsets    []groupOffsetRow `json:"offsets"`
}

type memberJSON struct {
	ID     string                    `json:"id"`
	Topics []string                  `json:"topics"`
	Owns   []consumer.TopicPartition `json:"owns"`
}

type groupOffsetRow struct {
	Topic     string    `json:"topic"`
	Partition int32     `json:"partition"`
	Offset    *int64    `json:"offset"` // null when nothing is committed
	End       int64     `json:"end"`
	Lag       int64     `json:"lag"`
	Owner     string    `json:"owner,omitempty"`
	Committed time.Time `json:"committed"`
	Metadata  string    `json:"metadata,omitempty"`
}

func (a *app) groupsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "groups DIR",
		Short: "List the consumer groups, or move one",
		Long: `List the consumer groups: generation, members, and of each partition what is committed, the end, and
how many records lie between them. Members of a program that was killed are listed until it joins again.`,
		Example: `  strata groups /var/lib/shop
  strata groups reset /var/lib/shop billing --topic orders --to 2026-05-01T00:00:00Z`,
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error { return a.listGroups(c.Context(), l, asJSON) })
		},
	}
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.AddCommand(a.resetCommand(&asJSON))
	return c
}

// listGroups prints all groups, or those that are named.
func (a *app) listGroups(ctx context.Context, l *log.Log, asJSON bool, names ...string) error {
	s, err := consumer.OpenStore(ctx, l)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		if names, err = s.Groups(ctx); err != nil {
			return err
		}
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "GROUP\tGENERATION\tMEMBERS\tTOPIC\tPARTITION\tOFFSET\tEND\tLAG\tOWNER")
	}
	for _, name := range names {
		g, err := describeGroup(ctx, s, name)
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(g)
		} else {
			err = g.rows(table)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

func describeGroup(ctx context.Context, s *consumer.Store, name string) (groupJSON, error) {
	state, err := s.State(ctx, name)
	if err != nil {
		return groupJSON{}, err
	}
	list, err := s.Offsets(ctx, name)
	if err != nil {
		return groupJSON{}, err
	}
	g := groupJSON{Group: name, Generation: state.Generation, Assignor: state.Assignor.String(), Members: []memberJSON{}, Offsets: []groupOffsetRow{}}
	owners := map[consumer.TopicPartition]string{}
	for _, m := range state.Members {
		j := memberJSON{ID: m.ID, Topics: m.Topics, Owns: []consumer.TopicPartition{}}
		for _, p := range m.Owns {
			owners[p] = m.ID
			j.Owns = append(j.Owns, p)
		}
		g.Members = append(g.Members, j)
	}
	for _, c := range list {
		row := groupOffsetRow{
			Topic: c.Topic, Partition: c.Partition, End: c.End, Lag: c.Lag, Owner: owners[c.TopicPartition],
			Committed: time.UnixMilli(c.Time).UTC(), Metadata: c.Metadata,
		}
		if c.Offset.Offset >= 0 {
			row.Offset = &c.Offset.Offset
		}
		g.Lag += c.Lag
		g.Offsets = append(g.Offsets, row)
	}
	return g, nil
}

// rows prints a line for each partition, or one for the group when it has none.
func (g *groupJSON) rows(table *tabwriter.Writer) error {
	if len(g.Offsets) == 0 {
		_, err := fmt.Fprintf(table, "%s\t%d\t%d\t-\t-\t-\t-\t0\t-\n", g.Group, g.Generation, len(g.Members))
		return err
	}
	for _, r := range g.Offsets {
		offset, owner := "-", r.Owner
		if r.Offset != nil {
			offset = strconv.FormatInt(*r.Offset, 10)
		}
		if owner == "" {
			owner = "-"
		}
		_, err := fmt.Fprintf(table, "%s\t%d\t%d\t%s\t%d\t%s\t%d\t%d\t%s\n", g.Group, g.Generation, len(g.Members), r.Topic, r.Partition, offset, r.End, r.Lag, owner)
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) resetCommand(asJSON *bool) *cobra.Command {
	var topic, to string
	c := &cobra.Command{
		Use:   "reset DIR GROUP",
		Short: "Move what a group has committed of a topic",
		Long: `Move what a group has committed of a topic, in all its partitions, and print where it is then. A group
that does not exist begins there. A time is, in each partition, the first record with that timestamp or
a later one; +N and -N are so many records further, and back.`,
		Example: `  strata groups reset /var/lib/shop billing --topic orders --to oldest
  strata groups reset /var/lib/shop billing --topic orders --to -1000`,
		Args:              arguments("DIR", "GROUP"),
		ValidArgsFunction: a.completeGroup,
	}
	c.Flags().StringVar(&topic, "topic", "", "the `topic`")
	c.Flags().StringVar(&to, "to", "", "where to: `oldest|newest|OFFSET|TIME|+N|-N`, the time in RFC 3339")
	completeFlag(c, "to", "oldest", "newest")
	c.RunE = func(c *cobra.Command, args []string) error {
		if topic == "" || to == "" {
			return usage("--topic and --to are wanted")
		}
		target, err := parseTarget(to)
		if err != nil {
			return err
		}
		return a.withLog(args[0], mustExist, func(l *log.Log) error {
			if err := consumer.Reset(c.Context(), l, args[1], target, topic); err != nil {
				return err
			}
			return a.listGroups(c.Context(), l, *asJSON, args[1])
		})
	}
	return c
}

// parseTarget parses --to.
func parseTarget(to string) (consumer.Target, error) {
	if to[0] == '+' || to[0] == '-' {
		n, err := strconv.ParseInt(to, 10, 64)
		if err != nil {
			return consumer.Target{}, usage("--to %q: +N or -N", to)
		}
		return consumer.By(n), nil
	}
	s, err := parseStart("--to", to)
	return consumer.To(s), err
}

// completeGroup completes a directory, and then a group of the log in it.
func (a *app) completeGroup(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeDirectory(nil, args, "")
	}
	var names []string
	err := a.withReader(args[0], func(l *log.Log) error {
		s, err := consumer.OpenStore(context.Background(), l)
		if err != nil {
			return err
		}
		list, err := s.Groups(context.Background())
		names = list
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
