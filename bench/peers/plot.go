package main

import (
	"fmt"
	"html"
	"strings"
)

// plot returns an SVG with a bar for each engine, a block for each case.
func (rs *results) plot(w workload, all []engine) string {
	const width, left, bar, gap = 720, 150, 18, 6
	y := 34
	var b strings.Builder
	for _, name := range w.cases {
		rows := rs.rows(w, name, all)
		most := 0.0
		for _, r := range rows {
			most = max(most, r.median)
		}
		fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s, %s</text>`+"\n", y+12, name, html.EscapeString(w.unit))
		y += 22
		for _, r := range rows {
			colour := "#8fa3b8"
			switch {
			case ours(r.e):
				colour = "#d9622b"
			case r.e.yardstick:
				colour = "#d5d5d5"
			}
			long := max(1, r.median/most*(width-left-90))
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
				left-8, y+13, html.EscapeString(r.e.name), left, y, long, bar, colour, left+long+6, y+13, figure(r.median))
			y += bar + gap
		}
		y += 14
	}
	better := "more is better"
	if w.lower {
		better = "less is better"
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">
<rect width="%d" height="%d" fill="#ffffff"/>
<text x="10" y="20" font-size="14">%s: %s (%s)</text>
%s</svg>
`, width, y, width, y, w.name, html.EscapeString(w.title), better, b.String())
}
