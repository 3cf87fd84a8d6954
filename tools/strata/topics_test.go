package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTopics creates, changes and deletes a topic, and looks at it in between.
func TestTopics(t *testing.T) {
	dir := t.TempDir()
	topic := func() map[string]any {
		all := objects(t, do(t, "", "topics", dir, "--json"))
		require.Len(t, all, 1)
		return all[0]
	}
	require.Empty(t, do(t, "", "create", dir, "t", "--partitions", "2"))
	require.Empty(t, do(t, "", "create", dir, "t", "--partitions", "2"))
	first := topic()
	require.EqualValues(t, 2, first["partitions"])

	require.Empty(t, do(t, "", "topics", "alter", dir, "t", "--partitions", "3", "--compress", "zstd"))
	require.Empty(t, do(t, "", "create", dir, "t", "--partitions", "3"), "the same again, whatever its compression")
	altered := objects(t, do(t, "", "topics", "alter", dir, "t", "--partitioner", "fnv1a", "--json"))
	require.Equal(t, altered[0], topic())
	require.Equal(t, map[string]any{
		"topic": "t", "id": first["id"], "partitions": 3.0, "records": 0.0, "compression": "zstd", "partitioner": "fnv1a",
	}, topic())

	r := try(t, "", "topics", "alter", dir, "t", "--partitions", "1")
	require.Equal(t, exitNotDone, r.status)
	require.Contains(t, r.errors, `"t" exists with partitions 3, not 1`)

	deleted := objects(t, do(t, "", "topics", "delete", dir, "t", "--json"))
	require.Equal(t, true, deleted[0]["deleted"])
	require.Equal(t, first["id"], deleted[0]["id"])
	require.Empty(t, do(t, "", "topics", dir, "--json"))
	do(t, "", "create", dir, "t")
	require.NotEqual(t, first["id"], topic()["id"])
}

// TestVersion checks that both forms tell of the format.
func TestVersion(t *testing.T) {
	require.Contains(t, do(t, "", "version"), "format 1")
	require.EqualValues(t, 1, objects(t, do(t, "", "version", "--json"))[0]["format"])
}

// TestBadTopicName checks that a name that no topic can have leaves no log behind.
func TestBadTopicName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	for _, args := range [][]string{{"create", dir, "bad name"}, {"create", dir, "__strata.mine"}, {"append", dir, "bad name", "--create"}} {
		r := try(t, "a line\n", args...)
		require.Equal(t, exitNotDone, r.status)
		require.Contains(t, r.errors, "invalid name")
		require.NoDirExists(t, dir)
	}
}
