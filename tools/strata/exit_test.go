package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/stratalog/strata/log"
)

// TestNotDone checks status and message of what cannot be done, and that nothing is printed as data.
func TestNotDone(t *testing.T) {
	dir := t.TempDir()
	do(t, "a\n", "append", dir, "t", "--create")
	none := filepath.Join(t.TempDir(), "none")
	for _, tc := range []struct{ args, message string }{
		{"", "no verb given"},
		{"remove DIR", `unknown command "remove"`},
		{"read DIR", "TOPIC is missing"},
		{"read DIR t x", `too many arguments: "x"`},
		{"read DIR t --nonsense", "unknown flag: --nonsense"},
		{"read DIR t --from yesterday", `--from "yesterday"`},
		{"read DIR t --from -1", `--from "-1"`},
		{"read DIR t --count -1", "--count -1"},
		{"read DIR t --output xml", `--output "xml"`},
		{"read DIR t --partition 1", `topic "t" has partitions 0 to 0, not 1`},
		{"read DIR t --partition -1", `topic "t" has partitions 0 to 0, not -1`},
		{"read DIR other", `no such topic: "other"`},
		{"read NONE t", "no log in this directory"},
		{"create DIR t --partitions 2", `"t" exists with partitions 1, not 2`},
		{"create DIR t --partitions 0", "--partitions 0"},
		{"create DIR a/b", `invalid name "a/b"`},
		{"append DIR other", `no such topic: "other"`},
		{"append NONE t", "no log in this directory"},
		{"append DIR t NONE", "no such file"},
		{"append DIR t --batch 0", "--batch 0"},
		{"append DIR t --key-column 0", "--key-column 0"},
		{"append DIR t --key-delim=", "--key-delim is empty"},
		{"append DIR t --key-column 1 --json", "none of the others can be"},
		{"append DIR t --sync maybe", "synced, written or buffered"},
		{"append DIR t --compress lz4", `codec "lz4" is not supported`},
		{"append DIR t --partition 1", `topic "t" has partitions 0 to 0, not 1`},
		{"append DIR t --partition -1", `topic "t" has partitions 0 to 0, not -1`},
		{"topics NONE", "no log in this directory"},
		{"topics alter DIR t", "at least one of the flags"},
		{"topics alter DIR t --partitions 0", "--partitions 0"},
		{"topics alter DIR t --partitioner random", `--partitioner "random"`},
		{"topics alter DIR other --partitions 2", `no such topic: "other"`},
		{"topics delete DIR other", `no such topic: "other"`},
		{"topics delete NONE t", "no log in this directory"},
		{"stats NONE", "no log in this directory"},
		{"dump NONE", "no such file"},
		{"dump DIR/ID", "neither a directory nor named as a segment is"},
		{"verify NONE", ""},
		{"repair NONE", ""},
	} {
		t.Run(tc.args, func(t *testing.T) {
			args := strings.Fields(strings.NewReplacer("DIR", dir, "NONE", none).Replace(tc.args))
			r := try(t, "x\n", args...)
			require.Equal(t, exitNotDone, r.status, r.errors)
			require.Empty(t, r.out)
			require.NotEmpty(t, r.errors)
			require.Contains(t, r.errors, tc.message)
			require.NoFileExists(t, none)
		})
	}
	require.Equal(t, "a\n", do(t, "", "read", dir, "t"))
}

// TestLocked checks that commands that write do not wait for the directory, and that those that read do
// not need it.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	do(t, "a\n", "append", dir, "t", "--create")
	l, err := log.Open(dir, log.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	for _, args := range [][]string{
		{"create", dir, "other"}, {"append", dir, "t"}, {"topics", "alter", dir, "t", "--partitions", "2"}, {"topics", "delete", dir, "t"}, {"repair", dir},
	} {
		r := try(t, "b\n", args...)
		require.Equal(t, exitNotDone, r.status, "%q: %s", args, r.errors)
		require.Contains(t, r.errors, "directory is in use")
		require.Contains(t, r.errors, dir)
		require.Empty(t, r.out)
	}
	for _, args := range [][]string{{"read", dir, "t"}, {"topics", dir}, {"stats", dir}, {"dump", dir}, {"verify", dir}} {
		require.NotEmpty(t, do(t, "", args...), "%q", args)
	}
}

// closedOutput is a standard output that nobody reads any more.
type closedOutput struct{ err error }

func (c closedOutput) Write([]byte) (int, error) { return 0, c.err }

// TestOutputClosed checks that a closed standard output ends every command without a word, and that any
// other error is told.
func TestOutputClosed(t *testing.T) {
	dir := t.TempDir()
	do(t, strings.Repeat("a line\n", 20_000), "append", dir, "t", "--create")
	for _, args := range [][]string{
		{"read", dir, "t"}, {"read", dir, "t", "--follow"}, {"topics", dir}, {"stats", dir}, {"dump", dir, "--records"}, {"verify", dir}, {"version"},
	} {
		for _, err := range []error{syscall.EPIPE, io.ErrClosedPipe, os.ErrClosed} {
			var messages bytes.Buffer
			status := run(context.Background(), args, strings.NewReader(""), closedOutput{err}, &messages)
			require.Equal(t, exitDone, status, "%q: %s", args, messages.String())
			require.Empty(t, messages.String(), "%q", args)
		}
		var messages bytes.Buffer
		status := run(context.Background(), args, strings.NewReader(""), closedOutput{errors.New("disk full")}, &messages)
		require.Equal(t, exitNotDone, status, "%q", args)
		require.Equal(t, "strata: standard output: disk full\n", messages.String())
	}

	// An append whose acknowledgements nobody reads ends as well, and says what it has done.
	var messages bytes.Buffer
	status := run(context.Background(), []string{"append", dir, "t", "--print-acks"}, strings.NewReader("b\n"), closedOutput{syscall.EPIPE}, &messages)
	require.Equal(t, exitDone, status)
	require.Regexp(t, `^strata: 1 records, 2 bytes, [^\n]*\n$`, messages.String())
}

// TestHelp checks that every command explains itself with an example, on standard output.
func TestHelp(t *testing.T) {
	var walk func(c *cobra.Command)
	commands := 0
	walk = func(c *cobra.Command) {
		commands++
		require.NotEmpty(t, c.Short, c.CommandPath())
		require.Contains(t, c.Example, c.CommandPath(), "example of %s", c.CommandPath())
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			require.LessOrEqual(t, len(line), 105, "%s: %q", c.CommandPath(), line)
		}
		out := do(t, "", append(strings.Fields(c.CommandPath())[1:], "--help")...)
		require.Contains(t, out, c.Example)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newApp(nil, nil, nil).command())
	require.GreaterOrEqual(t, commands, 12)
}

// TestComplete checks what the shell is offered.
func TestComplete(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "create", dir, "orders")
	do(t, "", "create", dir, "mails")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"rea"}, "read\tPrint the records of a topic\n:4\n"},
		{[]string{"read", dir, ""}, "mails\norders\n:4\n"},
		{[]string{"read", ""}, ":16\n"},
		{[]string{"append", dir, "orders", "--sync", ""}, "synced\nwritten\nbuffered\n:4\n"},
		{[]string{"topics", "delete", dir, ""}, "mails\norders\n:4\n"},
		{[]string{"read", filepath.Join(dir, "none"), ""}, ":1\n"},
	} {
		require.Equal(t, tc.want, do(t, "", append([]string{"__complete"}, tc.args...)...), "%q", tc.args)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		require.Contains(t, do(t, "", "completion", shell), "strata")
	}
}
