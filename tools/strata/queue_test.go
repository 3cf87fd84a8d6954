package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
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
	require.Contains(t, other.errors, `"mails" exists with retry 2 attempts, first wait 1ms, longest 1m0s, factor 2, even false, not 3 attempts, first wait 200ms`)
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

	wrong := try(t, "", "queue", "ack", dir, "mails", "AAAA")
	require.Equal(t, exitNotDone, wrong.status)
	require.Contains(t, wrong.errors, `receipt "AAAA" is not one of "mails": it does not decode`)

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
	require.Contains(t, moved.errors, "1 message moved")
	states := map[string]int{}
	for _, m := range objects(t, do(t, "", "queue", "peek", dir, "mails", "--json")) {
		states[fmt.Sprint(m["state"], " ", m["value"])]++
	}
	require.Equal(t, map[string]int{"leased d": 1, "delayed late": 1, "ready e": 1}, states)

	moved = try(t, "", "queue", "redrive", dir, "mails")
	require.Contains(t, moved.errors, "0 messages moved\nstrata: 2 messages passed over: no dead letters")
	moved = try(t, "", "queue", "redrive", dir, "mails.dead", "--to", "nowhere")
	require.Equal(t, exitNotDone, moved.status)
	require.Contains(t, moved.errors, `there is no queue "nowhere"`)

	purged := try(t, "", "queue", "purge", dir, "mails")
	require.Contains(t, purged.errors, "2 messages dropped")
	all := objects(t, do(t, "", "queue", "ls", dir, "--json"))
	require.EqualValues(t, 1, all[0]["leased"])
	require.EqualValues(t, 0, all[0]["ready"])
	do(t, "", "queue", "delete", dir, "mails")
	require.Equal(t, exitNotDone, try(t, "", "queue", "peek", dir, "mails").status)
	require.Equal(t, exitNotDone, try(t, "", "queue", "receive", dir, "mails.dead", "--count", "0").status)
}

// TestQueueDescribe shows what a queue was declared with, and its counts, for people and for programs.
func TestQueueDescribe(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "queue", "create", dir, "mails", "--ordered", "--attempts", "-1", "--backoff", "1s", "--backoff-factor", "3", "--backoff-even",
		"--dedup-for-ever", "--max-depth", "10", "--wait-when-full", "--ttl", "1h", "--max-in-flight", "4", "--auto-delete", "--compress", "zstd", "--dead-letter", "lost")
	sent := try(t, "a\nb\n", "queue", "send", dir, "mails")
	require.Contains(t, sent.errors, "2 messages, 4 bytes")
	d := objects(t, do(t, "", "queue", "describe", dir, "mails", "--json"))[0]
	for field, want := range map[string]any{
		"queue": "mails", "ready": 2.0, "lease": "30s", "attempts": -1.0, "backoff": "1s", "backoff_longest": "1m0s", "backoff_factor": 3.0, "backoff_even": true,
		"dead_letter": "lost", "max_depth": 10.0, "when_full": "wait", "ordered": true, "dedup": "for ever", "ttl": "1h0m0s", "max_in_flight": 4.0,
		"auto_delete": true, "exclusive": false, "compression": "zstd",
	} {
		require.Equal(t, want, d[field], field)
	}
	text := do(t, "", "queue", "describe", dir, "lost")
	for _, line := range []string{"attempts +for ever", "dead letters +dropped", "max depth +none", "backoff +200ms, then 2 times that, at most 1m0s", "ready +0"} {
		require.Regexp(t, "(?m)^"+line+"$", text)
	}
	require.Equal(t, exitNotDone, try(t, "", "queue", "describe", dir, "other").status)
}

// TestQueueReceiveNackOnce gives every message back once, also when its next attempt would come before the call ends.
func TestQueueReceiveNackOnce(t *testing.T) {
	dir := t.TempDir()
	do(t, "", "queue", "create", dir, "jobs", "--backoff", "1ns", "--backoff-longest", "1ns")
	do(t, "a\nb\nc\n", "queue", "send", dir, "jobs")
	got := objects(t, do(t, "", "queue", "receive", dir, "jobs", "--count", "100", "--nack"))
	require.Len(t, got, 3)
}

// fillingOutput is an output that takes so many writes, and is full then.
type fillingOutput struct{ left int }

func (l *fillingOutput) Write(b []byte) (int, error) {
	if l.left--; l.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

// TestQueueReceivePrintingFails: of messages that were printed before the output failed becomes what was asked for, and
// the others are given back.
func TestQueueReceivePrintingFails(t *testing.T) {
	for how, want := range map[string]string{
		"--ack": "c ready 0, d ready 0", "--nack": "a delayed 1, b delayed 1, c ready 0, d ready 0", "--owner=ada": "a leased 1, b leased 1, c ready 0, d ready 0",
	} {
		dir := t.TempDir()
		do(t, "", "queue", "create", dir, "jobs", "--backoff", "1h", "--backoff-longest", "1h", "--backoff-even")
		do(t, "a\nb\nc\nd\n", "queue", "send", dir, "jobs")
		var messages bytes.Buffer
		a := newApp(nil, &fillingOutput{2}, &messages)
		require.Equal(t, exitNotDone, a.run(context.Background(), []string{"queue", "receive", dir, "jobs", "--count", "4", how}))
		require.Contains(t, messages.String(), "no space left")
		got := map[string]string{}
		for _, m := range objects(t, do(t, "", "queue", "peek", dir, "jobs", "--json")) {
			got[fmt.Sprint(m["value"])] = fmt.Sprint(m["value"], " ", m["state"], " ", m["attempts"])
		}
		var states []string
		for _, value := range []string{"a", "b", "c", "d"} {
			if s, ok := got[value]; ok {
				states = append(states, s)
			}
		}
		require.Equal(t, want, strings.Join(states, ", "), how)
	}
}
