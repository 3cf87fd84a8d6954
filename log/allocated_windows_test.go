package log_test

import "os"

// allocated returns the size of a file.
func allocated(info os.FileInfo) int64 { return info.Size() }
