package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQueue sends, receives, fails, redrives and purges by command.
func TestQueue(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "queue", "create", dir, "mails", "--attempts", "2", "--backoff", "1ms")
	do(t, "", "queue", "create", dir, "mails", "--attempts", "2", "--backoff", "1ms")
	other := try(t, "", "queue", "create", dir, "mails", "--attempts", "3")
	require.Equal(t, exitNotDone, other.status)
	require.Contains(t, other.errors, `"mails" exists with retry 2 attempts`)
	require.Equal(t, "0 0\n0 1\n0 2\n0 3\n0 4\n", do(t, "a\nb\nc\nd\ne\n", "queue", "send", dir, "mails", "--print-acks"))
	require.Equal(t, "0 5\n", do(t, "late\n", "queue", "send", dir, "mails", "--print-acks", "--delay", "24h", "--content-type", "text/plain"))

	fields := func(out string) (lines [][]string) {
		for line := range strings.Lines(out) {
			lines = append(lines, strings.Fields(line))
		}
		return lines
	}
	rows := fields(do(t, "", "queue", "ls", dir))
	require.Equal(t, []string{"QUEUE", "READY", "DELAYED", "BLOCKED", "LEASED", "DEAD", "BYTES", "OLDEST"}, rows[0])
	require.Equal(t, []string{"mails", "5", "1", "0", "0", "0", "9"}, rows[1][:7])
	require.Equal(t, []string{"mails.dead", "0", "0", "0", "0", "0", "0", "-"}, rows[2])

	got := objects(t, do(t, "", "queue", "receive", dir, "mails", "--count", "2", "--ack"))
	require.Len(t, got, 2)
	require.Equal(t, "a", got[0]["value"])
	require.EqualValues(t, 1, got[0]["attempt"])

	got = objects(t, do(t, "", "queue", "receive", dir, "mails", "--count", "2", "--lease", "1h", "--owner", "ada"))
	leases := fields(do(t, "", "queue", "ls", dir, "mails"))
	require.Equal(t, []string{"2", "1", "ada"}, leases[1][:3])
	do(t, "", "queue", "ack", dir, "mails", got[0]["receipt"].(string))
	stale := try(t, "", "queue", "ack", dir, "mails", got[0]["receipt"].(string))
	require.Equal(t, exitNotDone, stale.status)
	require.Contains(t, stale.errors, `the lease of message 2 of "mails" is gone`)

	for i := range 2 {
		got = objects(t, do(t, "", "queue", "receive", dir, "mails", "--nack", "--wait", "1m"))
		require.Equal(t, "e", got[0]["value"])
		require.EqualValues(t, i+1, got[0]["attempt"])
	}
	peek := objects(t, do(t, "", "queue", "peek", dir, "mails.dead", "--json"))
	require.Len(t, peek, 1)
	require.Equal(t, "mails/0@4", peek[0]["origin"])
	require.Contains(t, peek[0]["cause"], "--nack")
	require.Len(t, peek[0]["history"], 2)
	require.Contains(t, do(t, "", "queue", "peek", dir, "mails.dead"), "mails/0@4")

	moved := try(t, "", "queue", "redrive", dir, "mails.dead", "--cause", "something else")
	require.Contains(t, moved.errors, "0 messages moved")
	moved = try(t, "", "queue", "redrive", dir, "mails.dead", "--from", "mails")
	require.Contains(t, moved.errors, "1 messages moved")
	states := map[string]int{}
	for _, m := range objects(t, do(t, "", "queue", "peek", dir, "mails", "--json")) {
		states[fmt.Sprint(m["state"], " ", m["value"])]++
	}
	require.Equal(t, map[string]int{"leased d": 1, "delayed late": 1, "ready e": 1}, states)

	purged := try(t, "", "queue", "purge", dir, "mails")
	require.Contains(t, purged.errors, "2 messages dropped")
	all := objects(t, do(t, "", "queue", "ls", dir, "--json"))
	require.EqualValues(t, 1, all[0]["leased"])
	require.EqualValues(t, 0, all[0]["ready"])
	do(t, "", "queue", "delete", dir, "mails")
	require.Equal(t, exitNotDone, try(t, "", "queue", "peek", dir, "mails").status)
	require.Equal(t, exitNotDone, try(t, "", "queue", "receive", dir, "mails.dead", "--count", "0").status)
}
