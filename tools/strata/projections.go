package main

import (
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/projection"
)

// projectionJSON describes a projection. Times are RFC 3339.
type projectionJSON struct {
	projection.Progress
	Lag   uint64 `json:"lag"` // positions of the log behind those that the build has
	Reset bool   `json:"reset"`
}

func (a *app) projectionsCommand() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "projections DIR",
		Short: "List the projections, or have one built anew",
		Long: `List the projections of a log, as their programs have told last: what they are doing, the version
that is carried on and the one that readers see, the position, how far the log is ahead of it, and when
this was so. A program tells once a second, and when it stops; one that was killed has told nothing
since.`,
		Example: `  strata projections /var/lib/shop
  strata projections reset /var/lib/shop balances`,
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error { return a.listProjections(l, asJSON) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line")
	c.AddCommand(a.resetProjectionCommand())
	return c
}

func (a *app) listProjections(l *log.Log, asJSON bool) error {
	fs := l.Options().FS
	list, err := projection.List(fs, l.Dir())
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "PROJECTION\tSTORE\tPHASE\tVERSION\tACTIVE\tPOSITION\tLAG\tEVENTS/S\tPARKED\tTOLD\tNOTE")
	}
	for _, p := range list {
		p.End = l.Position()
		asked, err := projection.ResetAsked(fs, l.Dir(), p.Projection)
		if err != nil {
			return err
		}
		if asJSON {
			err = a.printJSON(projectionJSON{p, p.Lag(), asked})
		} else {
			err = printProjection(table, p, asked)
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

func printProjection(table *tabwriter.Writer, p projection.Progress, asked bool) error {
	active, note := "-", "-"
	if p.ActiveVersion > 0 {
		active = strconv.Itoa(p.ActiveVersion)
	}
	switch {
	case p.Error != "":
		note = p.Error
	case asked:
		note = "to be built anew"
	}
	_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\t%d\t%.0f\t%d\t%s\t%s\n",
		p.Projection, p.Store, p.Phase, p.Version, active, p.Position, p.Lag(), p.EventsPerSecond, p.Parked,
		p.Time.UTC().Format(time.RFC3339), note)
	return err
}

func (a *app) resetProjectionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reset DIR NAME",
		Short: "Have a projection built anew",
		Long: `Mark a projection: its program builds the model anew, from the first record of the log, when it next
runs the projection, beside the old model, which is read until the new one is complete. The program may
be running.`,
		Example:           `  strata projections reset /var/lib/shop balances`,
		Args:              arguments("DIR", "NAME"),
		ValidArgsFunction: a.completeProjection,
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withReader(args[0], func(l *log.Log) error {
				return projection.MarkReset(l.Options().FS, l.Dir(), args[1], l.Options().Rand)
			})
		},
	}
}

// completeProjection completes a directory, and then a projection of the log in it.
func (a *app) completeProjection(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return completeDirectory(nil, args, "")
	}
	list, err := projection.List(a.options.FS, args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Projection)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
