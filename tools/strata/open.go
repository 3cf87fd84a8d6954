package main

import (
	"errors"

	"github.com/stratalog/strata/log"
)

// The line that append takes, and with it the key that is a part of it, always fits a record; half
// of a commit is left for its like.
const (
	maxLineBytes   = 16 << 20
	maxRecordBytes = 2*maxLineBytes + 1<<10
	maxCommitBytes = 64 << 20
)

// withLog opens the log in dir for writing, calls do, and closes it.
func (a *app) withLog(dir string, change func(*log.Options), do func(*log.Log) error) error {
	o := a.options
	o.MaxRecordBytes, o.MaxCommitBytes = maxRecordBytes, maxCommitBytes
	if change != nil {
		change(&o)
	}
	l, err := log.Open(dir, o)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

func mustExist(o *log.Options) { o.MustExist = true }

// withReader opens the log in dir for reading only, calls do, and closes it.
func (a *app) withReader(dir string, do func(*log.Log) error) error {
	o := a.options
	o.ReadOnly = true
	l, err := log.Open(dir, o)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}
