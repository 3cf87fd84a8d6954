// Command mutants tests the tests: it breaks the engine in one small way at a time, in a copy of the
// tree, and runs the test that should notice. It exits with 1 when a mutant lives.
//
//	go run ./fuzz/mutants            all of them
//	go run ./fuzz/mutants -some 5    five, chosen by the date
//	go run ./fuzz/mutants -run sync  those whose names contain "sync"
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	some := flag.Int("some", 0, "run this many, chosen by the date; 0 is all")
	run := flag.String("run", "", "run those whose names contain this")
	flag.Parse()
	living, err := campaign(*some, *run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if living > 0 {
		os.Exit(1)
	}
}

// campaign runs the chosen mutants and returns how many live.
func campaign(some int, run string) (living int, err error) {
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return 0, err
	}
	files, err := output("git", "-C", root, "ls-files", "*.go", "*.mod", "*.sum", "*/testdata/*", "README.md", ".ci/run")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "strata-mutants-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for f := range strings.SplitSeq(files, "\n") {
		if err := copyFile(filepath.Join(root, f), filepath.Join(dir, f)); err != nil {
			return 0, err
		}
	}
	for _, m := range chosen(some, run) {
		verdict, err := m.try(dir)
		if err != nil {
			verdict = "INVALID: " + err.Error()
		}
		fmt.Printf("%-28s %-8s %s %s\n", m.name, verdict, m.pkg, m.tests)
		if verdict != "killed" {
			living++
		}
	}
	fmt.Printf("mutants living or invalid: %d\n", living)
	return living, nil
}

// chosen returns the mutants to run.
func chosen(some int, run string) []mutant {
	var out []mutant
	for _, m := range mutants {
		if strings.Contains(m.name, run) {
			out = append(out, m)
		}
	}
	if some <= 0 || some >= len(out) {
		return out
	}
	first := time.Now().UTC().YearDay() * some % len(out)
	return append(out[first:], out[:first]...)[:some]
}

// longest is how long a mutant's test may take: one that hangs was noticed.
const longest = 4 * time.Minute

// try applies m in dir, runs its test, and takes m back. Its error says that the mutant or its test is
// not fit to tell anything.
func (m mutant) try(dir string) (verdict string, err error) {
	path := filepath.Join(dir, m.file)
	sound, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	broken, err := m.apply(string(sound))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(broken), 0o644); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, sound, 0o644)) }()
	program := filepath.Join(dir, "mutant.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-o", program, m.pkg)
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the mutant does not compile: %s", out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	test := exec.CommandContext(ctx, program, "-test.short", "-test.count=1", "-test.timeout="+longest.String(), "-test.run="+m.tests)
	test.Dir = filepath.Join(dir, m.pkg)
	test.WaitDelay = time.Second
	out, err := test.CombinedOutput()
	return judge(string(out), err, ctx.Err() != nil)
}

// judge says what became of a mutant by what its test printed, how that ended, and whether it hung.
func judge(out string, failed error, hung bool) (verdict string, err error) {
	switch {
	case failed == nil && strings.Contains(out, "no tests to run"):
		return "", errors.New("its test does not exist")
	case failed == nil:
		return "LIVES", nil
	case hung || strings.Contains(out, "--- FAIL: ") || strings.Contains(out, "panic: ") || strings.Contains(out, "fatal error: "):
		return "killed", nil
	}
	return "", fmt.Errorf("its test did not run: %w: %s", failed, out)
}

// apply returns the source with the mutation.
func (m mutant) apply(source string) (string, error) {
	if n := strings.Count(source, m.old); n != 1 {
		return "", fmt.Errorf("%s has %d places like %q, not 1", m.file, n, m.old)
	}
	return strings.Replace(source, m.old, m.new, 1), nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // deleted, and not yet committed
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
