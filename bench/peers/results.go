package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// results is what is kept of one workload: every trial, not only the medians.
type results struct {
	Workload string  `json:"workload"`
	Title    string  `json:"title"`
	Machine  string  `json:"machine"`
	Lengths  string  `json:"lengths"` // of the trials
	Trials   []trial `json:"trials"`
}

type trial struct {
	Case   string    `json:"case"`
	Engine string    `json:"engine"`
	Trial  int       `json:"trial"`
	At     time.Time `json:"at"`
	Values values    `json:"values,omitempty"`
	Error  string    `json:"error,omitempty"`
}

func (t trial) summary(w workload) string {
	if t.Error != "" {
		return "failed: " + t.Error
	}
	return figure(t.Values[w.value]) + " " + w.unit
}

func readResults(path string) (*results, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &results{}, nil
	}
	if err != nil {
		return nil, err
	}
	rs := &results{}
	if err := json.Unmarshal(b, rs); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rs, nil
}

// write replaces the file whole, so that a stopped run leaves a good one.
func (rs *results) write(path string) error {
	b, err := json.MarshalIndent(rs, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (rs *results) has(name, engine string, n int) bool {
	return slices.ContainsFunc(rs.Trials, func(t trial) bool {
		return t.Case == name && t.Engine == engine && t.Trial == n && t.Error == ""
	})
}

// median is over the trials of an engine that did not fail. spread is half of the distance between
// the best and the worst, relative to it. ok says that there were any.
func (rs *results) median(name, engine, value string) (median, spread float64, ok bool) {
	var all []float64
	for _, t := range rs.Trials {
		if v, has := t.Values[value]; has && t.Case == name && t.Engine == engine {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, 0, false
	}
	slices.Sort(all)
	median = all[len(all)/2]
	if len(all)%2 == 0 {
		median = (median + all[len(all)/2-1]) / 2
	}
	return median, (all[len(all)-1] - all[0]) / 2 / median, true
}

func (rs *results) failure(name, engine string) string {
	for _, t := range slices.Backward(rs.Trials) {
		if t.Case == name && t.Engine == engine {
			return t.Error
		}
	}
	return ""
}
