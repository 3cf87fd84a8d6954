package pubsub

import (
	"slices"
	"strings"
)

// patterns holds values by pattern, and finds those whose pattern matches a name. It is not safe for
// concurrent changes.
type patterns[T comparable] struct{ root patternNode[T] }

type patternNode[T comparable] struct {
	next   map[string]*patternNode[T] // by word, * and # included
	values []T
}

// words returns the words of a name.
func words(name string) []string {
	if name == "" {
		return nil
	}
	return strings.Split(name, ".")
}

// add adds v under pattern, once.
func (p *patterns[T]) add(pattern string, v T) {
	n := &p.root
	for _, w := range words(pattern) {
		child := n.next[w]
		if child == nil {
			child = &patternNode[T]{}
			if n.next == nil {
				n.next = map[string]*patternNode[T]{}
			}
			n.next[w] = child
		}
		n = child
	}
	if !slices.Contains(n.values, v) {
		n.values = append(n.values, v)
	}
}

// remove removes v from under pattern.
func (p *patterns[T]) remove(pattern string, v T) { p.root.remove(words(pattern), v) }

func (n *patternNode[T]) remove(rest []string, v T) {
	if len(rest) == 0 {
		n.values = slices.DeleteFunc(n.values, func(o T) bool { return o == v })
		return
	}
	child := n.next[rest[0]]
	if child == nil {
		return
	}
	child.remove(rest[1:], v)
	if len(child.values) == 0 && len(child.next) == 0 {
		delete(n.next, rest[0])
	}
}

// match returns the values whose pattern matches name, each once, in the order in which the patterns
// are met.
func (p *patterns[T]) match(name string) []T {
	m := matching[T]{words: words(name)}
	m.visit(&p.root, 0)
	return m.found
}

// matching is one search.
type matching[T comparable] struct {
	words []string
	found []T
	seen  map[T]struct{}
	// been holds where the search was already: # leads to the same place by many ways.
	been map[matchPlace[T]]struct{}
}

type matchPlace[T comparable] struct {
	n    *patternNode[T]
	word int
}

// visit goes on at n, with the words before i matched.
func (m *matching[T]) visit(n *patternNode[T], i int) {
	at := matchPlace[T]{n, i}
	if _, ok := m.been[at]; ok {
		return
	}
	if m.been == nil {
		m.been, m.seen = map[matchPlace[T]]struct{}{}, map[T]struct{}{}
	}
	m.been[at] = struct{}{}
	if i == len(m.words) {
		for _, v := range n.values {
			if _, ok := m.seen[v]; !ok {
				m.seen[v] = struct{}{}
				m.found = append(m.found, v)
			}
		}
	} else {
		if child := n.next[m.words[i]]; child != nil && m.words[i] != "*" && m.words[i] != "#" {
			m.visit(child, i+1)
		}
		if child := n.next["*"]; child != nil {
			m.visit(child, i+1)
		}
	}
	if child := n.next["#"]; child != nil {
		for j := i; j <= len(m.words); j++ {
			m.visit(child, j)
		}
	}
}
