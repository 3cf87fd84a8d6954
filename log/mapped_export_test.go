package log

// SetMappable bounds how many files of l are mapped.
func (l *Log) SetMappable(n int) { l.files.mappable = n }
