// Command quickstart is the shortest way to see Strata work: it makes a log in a temporary directory,
// appends two thousand lines of a package manager's log to a topic with eight partitions, reads them
// back, compares, checks every byte on disk, and removes the directory again.
//
//	go run ./examples/quickstart
//
// The exit status is 1 when anything is not as it should be.
package main
