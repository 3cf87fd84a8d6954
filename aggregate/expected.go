package aggregate

import (
	"fmt"
	"math"
)

// Expected is what a commit expects of a stream: Any, Exists, NoStream, or a version by At.
type Expected int64

const (
	// NoStream is a stream without an event yet. It is At(0).
	NoStream Expected = 0
	// Any is any stream, whether it is there or not.
	Any Expected = -1
	// Exists is a stream that had an event, at whatever version.
	Exists Expected = -2
)

// At is a stream whose last event has this version; 0 is NoStream. A version that none can have fits no
// stream.
func At(version uint64) Expected { return Expected(min(version, math.MaxInt64)) }

func (e Expected) String() string {
	switch {
	case e == NoStream:
		return "no stream"
	case e == Any:
		return "any"
	case e == Exists:
		return "exists"
	case e > 0:
		return fmt.Sprintf("version %d", int64(e))
	}
	return fmt.Sprintf("invalid(%d)", int64(e))
}

// holds reports whether a stream at this version is as expected.
func (e Expected) holds(version uint64) bool {
	switch e {
	case Any:
		return true
	case Exists:
		return version > 0
	}
	return e >= 0 && uint64(e) == version
}

// definite reports whether e is a version.
func (e Expected) definite() bool { return e >= 0 }
