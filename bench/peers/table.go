package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// row is one engine in a table or plot.
type row struct {
	e              engine
	median, spread float64
}

// rows are the engines that have figures, the best first.
func (rs *results) rows(w workload, name string, all []engine) []row {
	var out []row
	for _, e := range all {
		if m, spread, ok := rs.median(name, e.name, w.value); ok {
			out = append(out, row{e, m, spread})
		}
	}
	slices.SortStableFunc(out, func(a, b row) int {
		if w.lower {
			return cmp.Compare(a.median, b.median)
		}
		return cmp.Compare(b.median, a.median)
	})
	return out
}

func ours(e engine) bool { return strings.HasPrefix(e.name, "strata") }

// table returns the Markdown table of one case of a workload.
func (rs *results) table(w workload, name string, all []engine) string {
	rows := rs.rows(w, name, all)
	best, limit := 0.0, 0.0
	bestName := ""
	for _, r := range rows {
		if best == 0 && !ours(r.e) && !r.e.yardstick {
			best, bestName = r.median, r.e.name
		}
		if r.e.name == w.limit {
			limit = r.median
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "### %s, %s: %s\n\n", w.name, name, w.title)
	fmt.Fprintf(&b, "| engine | %s | spread | to the best peer | to the limit | p50 / p99 / p99.9 µs | allocs/record |", w.unit)
	for _, c := range w.more {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString(" |\n|---|---:|---:|---:|---:|---:|---:|" + strings.Repeat("---:|", len(w.more)) + "---|\n")
	for _, r := range rows {
		engineName := r.e.name
		if ours(r.e) {
			engineName = "**" + engineName + "**"
		}
		fmt.Fprintf(&b, "| %s | %s | ±%.0f%% | %s | %s | %s | %s |", engineName, figure(r.median), 100*r.spread,
			ratio(r.median, best), ratio(r.median, limit), rs.latencies(name, r.e.name), rs.allocs(name, r.e.name))
		for _, c := range w.more {
			cell := ""
			if m, _, ok := rs.median(name, r.e.name, c.value); ok {
				cell = figure(m)
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		fmt.Fprintf(&b, " %s |\n", r.e.note)
	}
	for _, e := range all {
		if why := rs.failure(name, e.name); why != "" {
			fmt.Fprintf(&b, "\n%s failed: %s\n", e.name, why)
		}
	}
	if bestName != "" {
		fmt.Fprintf(&b, "\nThe best peer is %s.", bestName)
		if limit > 0 {
			fmt.Fprintf(&b, " The limit is %s.", w.limit)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (rs *results) latencies(name, engine string) string {
	var q [3]float64
	for i, value := range []string{"p50", "p99", "p999"} {
		m, _, ok := rs.median(name, engine, value)
		if !ok {
			return ""
		}
		q[i] = m
	}
	return fmt.Sprintf("%s / %s / %s", figure(q[0]), figure(q[1]), figure(q[2]))
}

func (rs *results) allocs(name, engine string) string {
	m, _, ok := rs.median(name, engine, "allocs")
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f", m)
}

func ratio(v, to float64) string {
	if to == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v/to)
}

// figure prints three significant digits.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e5:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e4:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.2fk", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
