// Package timer holds how long to wait: the retry policy that consumer groups and the layers above them
// share.
package timer
