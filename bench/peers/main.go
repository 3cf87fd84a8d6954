// Command peers measures Strata next to what its users would pick instead, and next to bare files,
// in one run on one machine: trials are interleaved (A B C, A B C, …), figures are medians.
//
// It prints its progress to standard error and one Markdown table per workload to standard output.
// Raw results go to one JSON file per workload, with a plot beside it. A run that was stopped is
// taken up where it was by the next one; -fresh begins anew.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// run is the state of one run of the program.
type run struct {
	scratch  string // directory for logs; removed at the end
	results  string
	fresh    bool
	trials   int
	trial    int // the number of the one that is made, from 0
	payloads map[int][][]byte
	cycle    int
	loads    map[string]*loadedLog
	stop     chan os.Signal
	failed   bool // a trial of Strata failed

	// The length of a trial.
	unsyncedSeconds, syncedSeconds, readSeconds, followSeconds float64
	unsyncedBytes                                              int64
	pages                                                      int // bytes to touch before an unsynced trial
	records                                                    int // of a log that is read
	growth                                                     int // records of the largest log of W12
}

func main() {
	if err := mainErr(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func mainErr() error {
	quick := flag.Bool("quick", false, "3 short trials each, and small logs: to see roughly where things stand")
	only := flag.String("only", "", "comma-separated workloads, such as W3,W4, or layers; all of the log by default")
	names := flag.String("engines", "", "comma-separated engines; all by default")
	trials := flag.Int("trials", 0, "trials each; 5 by default, 3 with -quick")
	results := flag.String("results", "", "directory of the results; ../results, or ../results/quick with -quick")
	scratch := flag.String("dir", "", "where to make logs; the system's directory for temporary files by default")
	fresh := flag.Bool("fresh", false, "forget results that are there for the selected workloads")
	flag.Parse()

	b := &run{
		results: "../results", fresh: *fresh, trials: 5, payloads: makePayloads(), cycle: payloadCycle,
		loads: map[string]*loadedLog{}, stop: make(chan os.Signal, 1),
		unsyncedSeconds: 5, syncedSeconds: 2, readSeconds: 2, followSeconds: 3,
		unsyncedBytes: 1 << 30, pages: 1 << 30, records: 1_000_000, growth: 10 << 20,
	}
	if *quick {
		b.results, b.trials = "../results/quick", 3
		b.unsyncedSeconds, b.syncedSeconds, b.readSeconds, b.followSeconds = 1, 0.4, 0.5, 1
		b.unsyncedBytes, b.pages, b.records = 256<<20, 256<<20, 200_000
		b.growth = 1 << 20
	}
	if *trials > 0 {
		b.trials = *trials
	}
	if *results != "" {
		b.results = *results
	}
	if err := os.MkdirAll(b.results, 0o755); err != nil {
		return err
	}
	var err error
	if b.scratch, err = os.MkdirTemp(*scratch, "strata-peers-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.scratch) }()
	defer b.unload()
	signal.Notify(b.stop, os.Interrupt)
	chosen, err := choose(engines(), *names)
	if err != nil {
		return err
	}
	for _, w := range workloads() {
		if !w.chosen(*only) {
			continue
		}
		if err := b.workload(w, chosen); err != nil {
			return err
		}
		b.leave(w)
	}
	if b.failed {
		return errors.New("a trial of Strata failed; see above")
	}
	return nil
}

// leave removes the logs that were read behind the last workload that reads them, or has left more in them.
func (b *run) leave(w workload) {
	switch w.name {
	case "W5-pipelined", "W8", "C1", "W10", "W12":
		b.unload()
	}
}

// lengths tells how long trials are.
func (b *run) lengths() string {
	return fmt.Sprintf("unsynced %v s or %d MiB, synced %v s, reads %v s of %d records, following %v s, the largest log of W12 %d records",
		b.unsyncedSeconds, b.unsyncedBytes>>20, b.syncedSeconds, b.readSeconds, b.records, b.followSeconds, b.growth)
}

// chosen reports whether the workload is among those of -only.
func (w workload) chosen(only string) bool {
	if only == "" {
		return !w.layer
	}
	names := strings.Split(only, ",")
	return slices.Contains(names, w.name) || slices.Contains(names, w.family()) || w.layer && slices.Contains(names, "layers")
}

func choose(all []engine, names string) ([]engine, error) {
	var out []engine
	for _, e := range all {
		if names == "" || slices.Contains(strings.Split(names, ","), e.name) {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no engine is called %q", names)
	}
	return out, nil
}

var errStopped = errors.New("stopped; run again to go on")

// workload runs what is missing of one workload and prints its tables.
func (b *run) workload(w workload, all []engine) error {
	path := filepath.Join(b.results, w.name+".json")
	rs, err := readResults(path)
	if err != nil {
		return err
	}
	if b.fresh {
		rs = &results{}
	}
	if len(rs.Trials) > 0 && (rs.Machine != machine() || rs.Lengths != b.lengths()) {
		fmt.Fprintf(os.Stderr, "%s: what is there is of another machine, or of trials of other lengths, and is made anew\n", w.name)
		rs = &results{}
	}
	rs.Machine, rs.Workload, rs.Title, rs.Lengths = machine(), w.name, w.title, b.lengths()
	for _, name := range w.cases {
		for _, turn := range b.turns(w, all) {
			if err := b.turn(w, turn.engine, name, turn.trial, rs, path); err != nil {
				return err
			}
		}
		fmt.Println(rs.table(w, name, all))
	}
	return os.WriteFile(filepath.Join(b.results, w.name+".svg"), []byte(rs.plot(w, all)), 0o644)
}

// turn is one trial of one engine.
type turn struct {
	engine engine
	trial  int
}

// turns returns the order in which trials are made.
func (b *run) turns(w workload, all []engine) []turn {
	var out []turn
	for n := range b.trials {
		for _, e := range all {
			if e.in(w.family()) && (w.takes == nil || w.takes(e)) {
				out = append(out, turn{e, n})
			}
		}
	}
	if w.apart {
		slices.SortStableFunc(out, func(x, y turn) int { return strings.Compare(x.engine.name, y.engine.name) })
	}
	return out
}

// turn makes the n-th trial of e, unless it was made.
func (b *run) turn(w workload, e engine, name string, n int, rs *results, path string) error {
	if rs.has(name, e.name, n) {
		return nil
	}
	select {
	case <-b.stop:
		return errStopped
	default:
	}
	began := time.Now()
	b.trial = n
	v, err := w.trial(b, e, name)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	t := trial{Case: name, Engine: e.name, Trial: n, At: began.UTC().Truncate(time.Second), Values: v}
	if err != nil {
		t.Error, t.Values = err.Error(), nil
		b.failed = b.failed || strings.HasPrefix(e.name, "strata")
	}
	fmt.Fprintf(os.Stderr, "%-12s %-6s %-16s %d/%d  %s\n", w.name, name, e.name, n+1, b.trials, t.summary(w))
	rs.Trials = append(rs.Trials, t)
	return rs.write(path)
}
