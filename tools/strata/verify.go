package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

// findingJSON is one damage. What is lost are the positions [from_position, to_position); they are
// equal where that is nothing, or not known.
type findingJSON struct {
	Kind         string `json:"kind"`
	File         string `json:"file"`
	Byte         int64  `json:"byte"`
	Check        string `json:"check"`
	Detail       string `json:"detail"`
	FromPosition uint64 `json:"from_position"`
	ToPosition   uint64 `json:"to_position"`
}

// printFinding prints one damage.
func (a *app) printFinding(f log.Finding, asJSON bool) error {
	if asJSON {
		return a.printJSON(findingJSON{"finding", f.File, f.Byte, f.Check, f.Detail, f.FromPosition, f.ToPosition})
	}
	lost := "nothing is lost"
	if n := f.ToPosition - f.FromPosition; n > 0 {
		lost = fmt.Sprintf("lost: positions %d to %d (%d records)", f.FromPosition, f.ToPosition-1, n)
	}
	return a.printf("damage: %s at byte %d: %s: %s; %s\n", f.File, f.Byte, f.Check, f.Detail, lost)
}

func (a *app) verifyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read and check every byte of a log",
		Long: `Read and check every head, frame, batch and index entry of a log, and what says how far its views
have come. The exit status is 0 when it is clean and 1 when there is damage. What was being written
when a process died, and was never acknowledged as synced, is no damage; a note tells of it.`,
		Example:           "  strata verify /var/lib/shop --json",
		Args:              arguments("DIR"),
		ValidArgsFunction: completeDirectory,
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object a line: findings, notes, and a total")
	c.RunE = func(c *cobra.Command, args []string) error { return a.verify(c.Context(), args[0], asJSON) }
	return c
}

func (a *app) verify(ctx context.Context, dir string, asJSON bool) error {
	bar := a.progress("verify", 0)
	report, err := log.Verify(ctx, dir, log.VerifyOptions{Progress: bar.set})
	bar.finish()
	if err != nil {
		return err
	}
	a.bad = len(report.Findings) > 0
	for _, f := range report.Findings {
		if err := a.printFinding(f, asJSON); err != nil {
			return err
		}
	}
	for _, note := range report.Notes {
		if err := a.printNote(note, asJSON); err != nil {
			return err
		}
	}
	if asJSON {
		return a.printJSON(struct {
			Kind     string `json:"kind"`
			Segments int64  `json:"segments"`
			Frames   int64  `json:"frames"`
			Batches  int64  `json:"batches"`
			Records  int64  `json:"records"`
			Bytes    int64  `json:"bytes"`
			Findings int    `json:"findings"`
			Clean    bool   `json:"clean"`
		}{"total", report.Segments, report.Frames, report.Batches, report.Records, report.Bytes, len(report.Findings), !a.bad})
	}
	verdict := "clean"
	if a.bad {
		verdict = fmt.Sprintf("damaged (%d findings)", len(report.Findings))
	}
	return a.printf("%s: %d segments, %d frames, %d batches, %d records, %d bytes\n",
		verdict, report.Segments, report.Frames, report.Batches, report.Records, report.Bytes)
}

func (a *app) printNote(note string, asJSON bool) error {
	if asJSON {
		return a.printJSON(struct {
			Kind string `json:"kind"`
			Note string `json:"note"`
		}{"note", note})
	}
	return a.printf("note: %s\n", note)
}
