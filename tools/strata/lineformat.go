package main

import (
	"bytes"

	"github.com/stratalog/strata/log"
)

// lineFormat makes a record of a line, whose bytes the record may share.
type lineFormat func(line []byte, r *log.Record) error

// wholeLine makes the line the value of a record without a key.
func wholeLine(line []byte, r *log.Record) error {
	*r = log.Record{Value: line}
	return nil
}

// keyColumn makes the n-th column, from 1, the key, and the whole line the value. Columns stand
// between blanks and tabs. A line with fewer columns has no key.
func keyColumn(n int) lineFormat {
	return func(line []byte, r *log.Record) error {
		*r = log.Record{Key: column(line, n), Value: line}
		return nil
	}
}

// column returns the n-th column of a line, or nil.
func column(line []byte, n int) []byte {
	for {
		line = bytes.TrimLeft(line, " \t")
		if len(line) == 0 {
			return nil
		}
		end := bytes.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		if n--; n == 0 {
			return line[:end:end]
		}
		line = line[end:]
	}
}

// keyDelimiter makes what stands before the first delimiter the key, and what stands behind it the
// value. A line without one has no key.
func keyDelimiter(delimiter string) lineFormat {
	d := []byte(delimiter)
	return func(line []byte, r *log.Record) error {
		key, value, found := bytes.Cut(line, d)
		if !found {
			return wholeLine(line, r)
		}
		*r = log.Record{Key: key, Value: value}
		return nil
	}
}
