package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

// app is one execution of a command line.
type app struct {
	stdin    io.Reader
	out      *output
	messages *messages
	// options is what logs are opened with, before a command changes its copy. Tests set clock and
	// source of randomness.
	options log.Options
	// bad says that damage, or anything else that makes the answer a bad one, was found and told.
	bad bool
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	m := &messages{w: stderr}
	return &app{stdin: stdin, out: newOutput(stdout), messages: m, options: log.Options{Logger: slog.New(m)}}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.out)
	root.SetErr(a.messages)
	ran, err := root.ExecuteContextC(ctx)
	if flushErr := a.out.Flush(); err == nil {
		err = flushErr
	}
	return a.status(ran, err)
}

// command returns the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "strata",
		Short: "Create, fill, read, inspect, verify and repair logs",
		Long: `strata works on the directory of a log.

Data goes to standard output and nothing else does; messages go to standard error.
Exit status: 0 done; 1 done, and the answer is bad (damage found); 2 not done.`,
		Example: `  strata create /var/lib/shop orders --partitions 8
  strata append /var/lib/shop orders --key-column 1 orders.txt
  strata read /var/lib/shop orders --follow --output json`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(*cobra.Command, []string) error {
			return usage("no verb given")
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.createCommand(), a.appendCommand(), a.readCommand(), a.topicsCommand(), a.groupsCommand(), a.streamsCommand(), a.eventsCommand(), a.statsCommand(),
		a.dumpCommand(), a.verifyCommand(), a.repairCommand(), a.queueCommand(), a.sagaCommand(), a.projectionsCommand(), a.versionCommand(),
	)
	return root
}

// printf prints a line of data.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// printJSON prints v as one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
