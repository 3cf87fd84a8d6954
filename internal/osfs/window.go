package osfs

// Window is a stretch of a file that is mapped for writing. What is stored in Bytes is in the file at once, for
// everybody who reads it, and stays there when the process is killed; Sync of the file makes it durable. To store
// where the file does not reach, or where the disk fails, is a memory fault: do it under debug.SetPanicOnFault. A
// store can block, and with it the processor that runs it: right behind a sync, or while somebody has frozen the
// file system. It need not change when the file was last modified.
// It belongs to one goroutine at a time.
type Window struct {
	Bytes []byte
}
