package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// sample is a part of the log that dpkg keeps, for systems without one.
//
//go:embed testdata/dpkg.log
var sample []byte

func main() {
	switch err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("packages", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print one object, and nothing else")
	dir := flags.String("dir", "", "the `directory` of the log; a temporary one when it is not given")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: packages [--json] [--dir DIR] [FILE…]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	files, err := input(flags.Args())
	if err != nil {
		return err
	}
	if *dir == "" {
		temporary, err := os.MkdirTemp("", "strata-packages-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
		*dir = temporary
	}
	r, err := process(ctx, *dir, files)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	return r.print(stdout)
}

// input returns the files that are named, or those of the system, or the one that comes with the program.
func input(names []string) ([]file, error) {
	if len(names) == 0 {
		var err error
		if names, err = systemFiles(); err != nil {
			return nil, err
		}
	}
	if len(names) > 0 {
		return readFiles(names)
	}
	f, err := embedded(sample)
	return []file{f}, err
}
