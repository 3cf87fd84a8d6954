package house

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeCommands keeps the set-up commands of the README: two, each one line, which CI runs as
// they stand there.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "<!-- commands -->")
	require.True(t, ok, "README.md has no commands")
	block, _, ok := strings.Cut(rest, "<!-- end -->")
	require.True(t, ok, "the commands in README.md have no end")
	var commands []string
	for line := range strings.Lines(block) {
		if strings.HasPrefix(line, "go ") {
			commands = append(commands, strings.TrimSpace(line))
		}
	}
	require.Equal(t, []string{"go run ./examples/orders", "go test ./..."}, commands)

	ci, err := os.ReadFile("../../.ci/run")
	require.NoError(t, err)
	require.Contains(t, string(ci), "<!-- commands -->", "CI takes the commands from README.md")
}
