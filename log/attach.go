package log

import (
	"errors"
	"io"
	"sync"
)

// attachments are what layers keep for as long as the log is open.
type attachments struct {
	mu     sync.Mutex
	byName map[string]*attachment // guarded by mu
	// order are those that were made, in that order. Guarded by mu.
	order  []*attachment
	making sync.WaitGroup // added to under mu, while closed is false
	closed bool           // guarded by mu
}

// attachment is one of them. made is closed when the other two are set.
type attachment struct {
	made   chan struct{}
	closer io.Closer
	err    error
}

// Attach returns what is attached to the log under name. When there is nothing yet it calls open and
// attaches what that returns; an error of open is returned, and attaches nothing. Calls for the same
// name wait for each other; open may attach something of another name.
//
// Close of the log first closes what is attached, the latest first, while commits are still taken. So a
// layer has one dispatcher for a log, and what it starts ends with the log. Close must not be called by
// what it waits for.
func (l *Log) Attach(name string, open func() (io.Closer, error)) (io.Closer, error) {
	s := &l.attached
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		a := s.byName[name]
		if a == nil {
			a = &attachment{made: make(chan struct{})}
			if s.byName == nil {
				s.byName = map[string]*attachment{}
			}
			s.byName[name] = a
			s.making.Add(1)
			s.mu.Unlock()
			s.make(name, a, open)
			return a.closer, a.err
		}
		s.mu.Unlock()
		<-a.made
		if a.err == nil {
			return a.closer, nil
		}
		// The call that made it has the error. This one tries for itself.
	}
}

func (s *attachments) make(name string, a *attachment, open func() (io.Closer, error)) {
	defer s.making.Done()
	a.err = errors.New("log: attaching panicked")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if a.err != nil {
			delete(s.byName, name)
		} else {
			s.order = append(s.order, a)
		}
		close(a.made)
	}()
	a.closer, a.err = open()
}

// close closes all of them, and refuses what is attached later.
func (s *attachments) close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.making.Wait()
	var errs []error
	for i := len(s.order) - 1; i >= 0; i-- {
		errs = append(errs, s.order[i].closer.Close())
	}
	return errors.Join(errs...)
}
