package log

// Events are calls that a log makes as things happen; nil ones are left out. They are made one
// after the other by the goroutine to which the thing happened, often with others waiting for it, so
// they must be quick and must not call the log.
type Events struct {
	// Recovered is called by Open after an unclean end.
	Recovered func(RecoveredInfo)
	// SegmentCreated is called when a segment has its name.
	SegmentCreated func(SegmentInfo)
	// SegmentSealed is called when a segment will not change any more.
	SegmentSealed func(SegmentInfo)
	// Failed is called once, when the log fails.
	Failed func(error)
	// NoSpace is called when a commit is refused because the disk is full.
	NoSpace func(error)
	// IndexRebuilt is called when an index was missing or damaged and was made again by reading.
	IndexRebuilt func(SegmentInfo)
}

// RecoveredInfo tells what Open found behind an unclean end.
type RecoveredInfo struct {
	// File is the base name of the last segment, Byte where its frames end, Position the next one.
	File     string
	Byte     int64
	Position uint64
	// TornBytes is how many bytes were cut off: they were never acknowledged as synced. They stay in
	// the file.
	TornBytes int64
	// RewrittenBytes is how many bytes were written and synced again to be sure of them.
	RewrittenBytes int64
}

// SegmentInfo names a segment.
type SegmentInfo struct {
	File     string
	Position uint64 // of its first record
	Bytes    int64  // of its frames, head included
}
