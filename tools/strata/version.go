package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/segment"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program and of the format it writes",
		Example: "  strata version --json",
		Args:    arguments(),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print an object")
	c.RunE = func(*cobra.Command, []string) error {
		version, revision := "unknown", "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			version = info.Main.Version
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					revision = s.Value
				}
			}
		}
		if asJSON {
			return a.printJSON(struct {
				Version  string `json:"version"`
				Revision string `json:"revision"`
				Format   int    `json:"format"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{version, revision, segment.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
		}
		return a.printf("strata %s (revision %s, format %d, %s, %s/%s)\n",
			version, revision, segment.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}
	return c
}
