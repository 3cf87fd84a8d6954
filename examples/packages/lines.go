package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// systemFiles returns the log files of this system's dpkg.
func systemFiles() ([]string, error) { return filepath.Glob("/var/log/dpkg.log*") }

// file is a log file with its lines.
type file struct {
	name  string
	lines []string
}

// readFiles reads log files, and puts the one with the oldest first line first: that is the order in which
// they were written, whatever rotation called them.
func readFiles(names []string) ([]file, error) {
	var files []file
	for _, name := range names {
		f, err := readFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortStableFunc(files, func(a, b file) int { return cmp.Compare(a.begins(), b.begins()) })
	return files, nil
}

func readFile(name string) (file, error) {
	in, err := os.Open(name)
	if err != nil {
		return file{}, err
	}
	defer in.Close()
	var r io.Reader = in
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(in); err != nil {
			return file{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	lines, err := readLines(r)
	if err != nil {
		return file{}, fmt.Errorf("%s: %w", name, err)
	}
	return file{name, lines}, nil
}

func readLines(r io.Reader) ([]string, error) {
	var lines []string
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 1<<20)
	for sc.Scan() {
		lines = append(lines, sc.Text())
	}
	return lines, sc.Err()
}

// embedded returns the log that comes with the program.
func embedded(text []byte) (file, error) {
	lines, err := readLines(bytes.NewReader(text))
	return file{"the log that comes with the program", lines}, err
}

// begins returns date and time of the first line, in a form that sorts.
func (f *file) begins() string {
	if len(f.lines) == 0 {
		return ""
	}
	return f.lines[0][:min(len(timeLayout), len(f.lines[0]))]
}
