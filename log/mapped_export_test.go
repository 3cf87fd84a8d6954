package log

// SetMappable bounds how many files of l are mapped.
func (l *Log) SetMappable(n int) { l.files.mappable = n }

// MappedTail returns the byte position from which on the last segment is mapped for writing, or -1.
func (l *Log) MappedTail() int64 {
	l.takePen()
	defer l.passPen()
	if l.mappedTail.seg == nil {
		return -1
	}
	return l.mappedTail.from
}
