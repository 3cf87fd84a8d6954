package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

func (a *app) repairCommand() *cobra.Command {
	var asJSON, dryRun bool
	c := &cobra.Command{
		Use:   "repair DIR",
		Short: "Give up what is damaged, and keep everything else",
		Long: `Give up what is damaged, and keep every intact frame before and behind it at its offset and
position. What is lost stays a gap, which reading reports once and then passes; its offsets are never
given again. Damaged files are moved aside, into DIR/damaged, and never deleted.

With --dry-run nothing is changed, and the exit status is 1 when there is something to repair.`,
		Example:           "  strata repair /var/lib/shop --dry-run",
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "change nothing, only tell")
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line: findings, losses, files, and a total")
	c.RunE = func(c *cobra.Command, args []string) error { return a.repair(c.Context(), args[0], dryRun, asJSON) }
	return c
}

func (a *app) repair(ctx context.Context, dir string, dryRun, asJSON bool) error {
	report, err := log.Repair(ctx, dir, log.RepairOptions{DryRun: dryRun})
	if err != nil {
		return err
	}
	a.bad = dryRun && len(report.Findings) > 0
	for _, f := range report.Findings {
		if err := a.printFinding(f, asJSON); err != nil {
			return err
		}
	}
	for _, lost := range report.Lost {
		if err := a.printLost(lost, asJSON); err != nil {
			return err
		}
	}
	for _, files := range []struct {
		kind  string
		names []string
	}{{"written", report.Written}, {"moved_aside", report.MovedAside}} {
		for _, name := range files.names {
			if err := a.printFile(files.kind, name, asJSON); err != nil {
				return err
			}
		}
	}
	if asJSON {
		return a.printJSON(struct {
			Kind     string `json:"kind"`
			Findings int    `json:"findings"`
			Changed  bool   `json:"changed"`
			DryRun   bool   `json:"dry_run"`
		}{"total", len(report.Findings), report.Changed, dryRun})
	}
	switch {
	case len(report.Findings) == 0 && !report.Changed:
		return a.printf("nothing to repair\n")
	case dryRun:
		return a.printf("nothing was changed: a dry run\n")
	}
	return a.printf("repaired\n")
}

func (a *app) printLost(e *log.LostError, asJSON bool) error {
	if asJSON {
		return a.printJSON(struct {
			Kind      string `json:"kind"`
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			From      int64  `json:"from"`
			To        int64  `json:"to"`
		}{"lost", e.Topic, e.Partition, e.From, e.To})
	}
	return a.printf("lost: offsets %d to %d of %s/%d\n", e.From, e.To-1, e.Topic, e.Partition)
}

func (a *app) printFile(kind, name string, asJSON bool) error {
	if asJSON {
		return a.printJSON(struct {
			Kind string `json:"kind"`
			File string `json:"file"`
		}{kind, name})
	}
	if kind == "moved_aside" {
		kind = "moved aside"
	}
	return a.printf("%s: %s\n", kind, name)
}
