package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitDone    = 0
	exitBad     = 1 // done, and the answer is bad
	exitNotDone = 2
)

// errInterrupted ends a command that a signal kept from being done.
var errInterrupted = errors.New("interrupted")

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// status tells what is to be told about err, which the command ran returned, and returns the exit
// status.
func (a *app) status(ran *cobra.Command, err error) int {
	switch {
	case err == nil || errors.Is(err, errOutputClosed):
		if a.bad {
			return exitBad
		}
		return exitDone
	case errors.Is(err, context.Canceled) || errors.Is(err, errInterrupted):
		a.messages.printf("interrupted")
		return exitNotDone
	}
	a.messages.printf("%s", describe(err))
	var u usageError
	if errors.As(err, &u) || isUnknownCommand(err) {
		a.messages.printf("%q explains", ran.CommandPath()+" --help")
	}
	return exitNotDone
}

// isUnknownCommand reports whether err is cobra's about a verb that does not exist, which has no type.
func isUnknownCommand(err error) bool { return strings.HasPrefix(err.Error(), "unknown command ") }

// describe returns what err says without the name of the package that says it, which means nothing
// to the user of a program.
func describe(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		for _, name := range []string{"log: ", "segment: ", "consumer: ", "aggregate: ", "queue: ", "projection: "} {
			line = strings.TrimPrefix(line, name)
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// arguments accepts exactly the arguments that are named, the last of which may be optional, as in
// "[FILE]".
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usage("too many arguments: %q", args[len(names)])
		}
		if len(args) < len(names) && !strings.HasPrefix(names[len(args)], "[") {
			return usage("%s is missing", names[len(args)])
		}
		return nil
	}
}
