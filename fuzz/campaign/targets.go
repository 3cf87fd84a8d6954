package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// target is one fuzz target.
type target struct{ dir, name string }

var (
	declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	executed = regexp.MustCompile(`execs: (\d+)`)
)

// targets returns the fuzz targets of the module, by looking for them. Nested modules are left out.
func targets(root string) (list []target, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (nested == nil || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range declared.FindAllSubmatch(b, -1) {
			list = append(list, target{filepath.Dir(path), string(m[1])})
		}
		return nil
	})
	return list, err
}

// fuzz runs each target for d.
func (c *campaign) fuzz(d time.Duration) error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	list, err := targets(strings.TrimSpace(string(root)))
	if err != nil {
		return err
	}
	for _, t := range list {
		if !c.wanted(t.name) {
			continue
		}
		started := time.Now()
		tried, err := t.run(d)
		if err != nil {
			return err
		}
		if err := c.add(t.name, tried, time.Since(started)); err != nil {
			return err
		}
	}
	return nil
}

func (t target) run(d time.Duration) (counts, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", d.String(), ".")
	cmd.Dir = t.dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, err
	}
	var n counts
	var last []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = append(last, lines.Text())
		if m := executed.FindStringSubmatch(lines.Text()); m != nil {
			n.Images, _ = strconv.Atoi(m[1])
			last = last[:0]
		}
	}
	if cmd.Wait() != nil {
		n.Violations++
		fmt.Printf("VIOLATION: %s\n%s\n", t.name, strings.Join(last, "\n"))
	}
	return n, nil
}
