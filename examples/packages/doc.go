// Command packages makes event streams of what a package manager did: one stream for each package, out of the
// log files of dpkg, and prints which packages are installed.
//
//	go run ./examples/packages [--json] [--dir DIR] [FILE…]
//
// Without files it reads those of the system, /var/log/dpkg.log and the rotated ones, and where there are
// none, a part of such a log that comes with it. Files that end in .gz are expanded, and the one with the
// oldest first line is read first. Without --dir the events go to a temporary directory, which is removed
// afterwards. A line that is in DIR already is not added again, so running it once more adds nothing, or
// what is new.
//
// An event is a line that names a package: in column 5 of a status line, in column 4 of any other. The lines
// of startup and of conffile name none. Which packages are installed is a read model of the events: those whose
// last status is "installed".
package main
