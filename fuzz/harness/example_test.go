package harness_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stratalog/strata/fuzz/harness"
	"github.com/stratalog/strata/log"
)

// deposits is a program under test: it books amounts, two records a commit, which must balance.
func deposits(s *harness.Session) {
	ctx := context.Background()
	s.Open()
	for i := range 6 {
		if i == 3 {
			s.Reopen()
		}
		t, err := s.Log().CreateTopic(ctx, "accounts", log.TopicOptions{})
		if err != nil {
			return
		}
		s.Attempt(i)
		c := s.Log().NewCommit()
		c.Append(t, log.Record{Key: []byte("from"), Value: fmt.Append(nil, -i)}, log.Record{Key: []byte("to"), Value: fmt.Append(nil, i)})
		if _, err := c.Commit(ctx); err == nil {
			s.Promise(i)
		}
	}
}

// balanced is called with every log that a crash has left.
func balanced(l *log.Log, notes []harness.Note) error {
	promised := 0
	for _, n := range notes {
		if n.Acked {
			promised++
		}
	}
	t, err := l.Topic("accounts")
	if err != nil {
		if promised > 0 {
			return err
		}
		return nil
	}
	sum, count := 0, 0
	for r, err := range t.Read(log.Oldest) {
		if err != nil {
			return err
		}
		amount := 0
		if _, err := fmt.Sscan(string(r.Value), &amount); err != nil {
			return err
		}
		sum += amount
		count++
	}
	if sum != 0 || count < 2*promised {
		return fmt.Errorf("%d records with sum %d, %d deposits promised", count, sum, promised)
	}
	return nil
}

// Crash a program before and after each file operation that it causes, and look at the books each time.
func ExampleRun() {
	// In a test, t is the test's. An example has none.
	var t testing.TB = example{}
	stats := harness.Run(t, harness.Workload{
		Name: "deposits", Opaque: true, Steps: deposits, Check: balanced,
	}, harness.Options{})
	fmt.Println(stats.Images > 200, stats.Acked > 0, stats.Violations)
	// Output: true true 0
}

// example stands for a test.
type example struct{ testing.TB }

func (example) Helper()                           {}
func (example) Name() string                      { return "ExampleRun" }
func (example) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
