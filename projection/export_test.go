package projection

import "github.com/cockroachdb/pebble/v2/vfs"

// MeetError has s meet an error in the background, as if Pebble did not try again behind it.
func MeetError(s *PebbleStore, err error) {
	s.backgroundError(err)
	s.restless.Store(false)
}

// GiveUp gives the Pebble of s up.
func GiveUp(s *PebbleStore, cause error) { s.giveUp(cause) }

// FilesOf returns the file system that the Pebble of s has.
func FilesOf(s *PebbleStore) vfs.FS { return s.guard }
