package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/stratalog/strata/aggregate"
)

// The events of a package. Versions are "<none>" where dpkg says so.
type (
	// Installed is the beginning of an installation.
	Installed struct{ Version string }
	// Upgraded is the beginning of an upgrade.
	Upgraded struct{ From, To string }
	// Configured is the beginning of the configuration.
	Configured struct{ Version string }
	// Triggered is the beginning of the work that other packages have asked for.
	Triggered struct{ Version string }
	// Removed is the beginning of a removal, which leaves the configuration.
	Removed struct{ Version string }
	// Purged is the beginning of a removal with the configuration.
	Purged struct{ Version string }
	// StatusChanged tells in which state the package is now.
	StatusChanged struct{ Status, Version string }
	// Other is anything else that a line says of a package.
	Other struct {
		Action string
		Rest   []string
	}
)

var packageEvents = aggregate.NewTypes(
	aggregate.EventType[Installed]("package.installed"),
	aggregate.EventType[Upgraded]("package.upgraded"),
	aggregate.EventType[Configured]("package.configured"),
	aggregate.EventType[Triggered]("package.triggered"),
	aggregate.EventType[Removed]("package.removed"),
	aggregate.EventType[Purged]("package.purged"),
	aggregate.EventType[StatusChanged](statusChanged),
	aggregate.EventType[Other]("package.other"),
)

// statusChanged is the name of the type of a StatusChanged.
const statusChanged = "package.status-changed"

// category is that of the streams: package-NAME.
const category = "package"

const timeLayout = "2006-01-02 15:04:05"

// parseLine returns the event that a line tells of, and the package; false when it tells of none.
func parseLine(line string) (e any, name string, at time.Time, ok bool) {
	columns := strings.Fields(line)
	if len(columns) < 4 {
		return nil, "", at, false
	}
	at, err := time.ParseInLocation(timeLayout, columns[0]+" "+columns[1], time.Local)
	if err != nil {
		return nil, "", at, false
	}
	action, rest := columns[2], columns[3:]
	word := func(i int) string {
		if i < len(rest) {
			return rest[i]
		}
		return ""
	}
	name = rest[0]
	switch action {
	case "startup", "conffile":
		return nil, "", at, false
	case "status":
		if len(rest) < 2 {
			return nil, "", at, false
		}
		name, e = rest[1], StatusChanged{rest[0], word(2)}
	case "install":
		e = Installed{word(2)}
	case "upgrade":
		e = Upgraded{word(1), word(2)}
	case "configure":
		e = Configured{word(1)}
	case "trigproc":
		e = Triggered{word(1)}
	case "remove":
		e = Removed{word(1)}
	case "purge":
		e = Purged{word(1)}
	default:
		e = Other{action, rest[1:]}
	}
	return e, name, at, true
}

// lineID is the id of the event of a line: the same whenever the line is read again. Equal lines, which a
// second may have, are told apart by their number.
func lineID(line string, number int) string {
	sum := sha256.Sum256(fmt.Append(nil, number, " ", line))
	return hex.EncodeToString(sum[:16])
}
