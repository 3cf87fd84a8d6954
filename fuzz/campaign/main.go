// Command campaign runs the harnesses of fuzz/harness for hours, each round with other seeds, and adds
// what it has tried to a file of results. It can be stopped at any moment and continued: the file is
// written after every piece of work, and says which round comes next.
//
//	go run ./fuzz/campaign --for 2h --results results.json
//	go run ./fuzz/campaign --for 10m --results results.json --only T1,T6
//	go run ./fuzz/campaign --fuzz 5m --results results.json   each fuzz target for five minutes
//
// It exits with 1 when anything was violated; each violation is printed with the command that repeats
// it, and counted in the file.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/stratalog/strata/fuzz/harness"
)

// results is the file of results.
type results struct {
	// Round is the next round, and the seed of what it draws.
	Round   uint64            `json:"round"`
	Seconds float64           `json:"seconds"`
	Tried   map[string]counts `json:"tried"`
}

// counts is what a harness has tried.
type counts struct {
	// Images is how many crashed or damaged directories were opened, or runs made, or inputs tried.
	Images int `json:"images"`
	// Acked is how many acknowledged commits were looked for, summed over the images.
	Acked      int     `json:"acked,omitempty"`
	Window     int     `json:"window,omitempty"`
	Violations int     `json:"violations"`
	Seconds    float64 `json:"seconds"`
}

func main() {
	harness.KillChild()
	forTime := flag.Duration("for", 0, "how long to go on with the harnesses")
	fuzzTime := flag.Duration("fuzz", 0, "how long to run each fuzz target")
	path := flag.String("results", "", "the file of results")
	only := flag.String("only", "", "names of harnesses, separated by commas; empty is all")
	flag.Parse()
	if *path == "" || *forTime <= 0 && *fuzzTime <= 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	c, err := load(*path, *only)
	if err == nil {
		err = c.run(*forTime)
	}
	if err == nil && *fuzzTime > 0 {
		err = c.fuzz(*fuzzTime)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "campaign:", err)
		os.Exit(2)
	}
	if c.violated {
		os.Exit(1)
	}
}

// campaign is one run of the program.
type campaign struct {
	path     string
	only     []string
	r        results
	violated bool
}

func load(path, only string) (*campaign, error) {
	c := &campaign{path: path, r: results{Round: 1, Tried: map[string]counts{}}}
	if only != "" {
		c.only = strings.Split(only, ",")
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	return c, json.Unmarshal(b, &c.r)
}

// save writes the results to a new file and renames that over the old one.
func (c *campaign) save() error {
	b, err := json.MarshalIndent(c.r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.path+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(c.path+".new", c.path)
}

// run makes rounds until the time is over.
func (c *campaign) run(d time.Duration) error {
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		for _, p := range pieces {
			if !c.wanted(p.name) || !time.Now().Before(end) {
				continue
			}
			if err := c.do(p); err != nil {
				return err
			}
		}
		c.r.Round++
		if err := c.save(); err != nil {
			return err
		}
	}
	return nil
}

func (c *campaign) wanted(name string) bool {
	for _, o := range c.only {
		if o == name {
			return true
		}
	}
	return len(c.only) == 0
}

// do runs one piece and adds what it has tried.
func (c *campaign) do(p piece) error {
	t := &tb{name: p.test}
	started := time.Now()
	tried := p.run(t, c.r.Round)
	if t.failures > tried.Violations {
		tried.Violations = t.failures
	}
	return c.add(p.name, tried, time.Since(started))
}

func (c *campaign) add(name string, tried counts, took time.Duration) error {
	sum := c.r.Tried[name]
	sum.Images += tried.Images
	sum.Acked += tried.Acked
	sum.Window += tried.Window
	sum.Violations += tried.Violations
	sum.Seconds += took.Seconds()
	c.r.Tried[name] = sum
	c.r.Seconds += took.Seconds()
	c.violated = c.violated || tried.Violations > 0
	fmt.Printf("round %d %s images=%d acked=%d violations=%d in %.1f s\n", c.r.Round, name, tried.Images, tried.Acked, tried.Violations, took.Seconds())
	return c.save()
}
