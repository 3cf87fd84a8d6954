package crashfs

// RaceEnabled tells tests whether Write scrambles.
const RaceEnabled = raceEnabled

// Inodes counts the inodes that are held.
func (fs *FS) Inodes() int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	n := 0
	for _, i := range fs.inodes {
		if i != nil {
			n++
		}
	}
	return n
}

// SameFile reports whether two paths are names of one file.
func (fs *FS) SameFile(a, b string) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	at, err := fs.findLocked(Op{}, clean(a))
	to, toErr := fs.findLocked(Op{}, clean(b))
	return err == nil && toErr == nil && at.node == to.node
}
