package main

import (
	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

// completeTopic completes a directory, and then a topic of the log in it.
func (a *app) completeTopic(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return nil, cobra.ShellCompDirectiveFilterDirs
	case 1:
		var names []string
		err := a.withReader(args[0], func(l *log.Log) error {
			for _, t := range l.Topics() {
				names = append(names, t.Name)
			}
			return nil
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// completeDirectory completes a directory.
func completeDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// completeFlag makes the values of a flag complete.
func completeFlag(c *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag
	}
}

// codecFlag is the value of --compress.
type codecFlag struct{ record.Codec }

// Set parses the name of a codec.
func (f *codecFlag) Set(name string) (err error) {
	f.Codec, err = record.ParseCodec(name)
	return err
}

// Type names the value in help texts.
func (f *codecFlag) Type() string { return "none|gzip|snappy|zstd" }

// addCodecFlag gives c the flag --compress.
func addCodecFlag(c *cobra.Command, f *codecFlag, text string) {
	c.Flags().Var(f, "compress", text)
	c.Flags().Lookup("compress").DefValue = "" // what holds without the flag is in text
	completeFlag(c, "compress", "none", "gzip", "snappy", "zstd")
}
