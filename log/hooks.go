package log

import "errors"

// ErrCondition is returned for a condition that nobody can answer.
var ErrCondition = errors.New("log: unknown condition")

func (c *Commit) addCarried() error { return nil }

func (l *Log) verdictLocked(c *Commit) (*Result, error) {
	for i := range c.conditions {
		if err := l.checkOffsetLocked(&c.conditions[i]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (l *Log) sequencedLocked(c *Commit) {}
