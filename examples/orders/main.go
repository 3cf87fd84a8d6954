package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// options are the command line's.
type options struct {
	orders      int
	dir         string
	crash       bool
	crashes     int
	json        bool
	eventDriven bool
	child       bool
	hold        bool // the last order is not placed: who is to be killed must not finish before
	stock       int  // of each item; 0 is enough for all orders
}

func main() {
	var o options
	flag.IntVar(&o.orders, "orders", 2000, "how many orders")
	flag.StringVar(&o.dir, "dir", "", "the log's directory, which is kept; a temporary one otherwise")
	flag.BoolVar(&o.crash, "crash", true, "kill the program now and then")
	flag.IntVar(&o.crashes, "crashes", 3, "how many times to kill it")
	flag.BoolVar(&o.json, "json", false, "print one JSON object")
	flag.BoolVar(&o.eventDriven, "event-driven", false, "transitions on events rather than steps")
	flag.BoolVar(&o.child, "child", false, "be the program that is killed")
	flag.BoolVar(&o.hold, "hold", false, "as the child, place all orders but the last one")
	flag.Parse()
	if !o.crash {
		o.crashes = 0
	}
	if err := run(context.Background(), o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		os.Exit(1)
	}
}

// run does all of it.
func run(ctx context.Context, o options, out, progress io.Writer) (err error) {
	if o.child {
		return work(ctx, o, out)
	}
	if o.dir == "" {
		parent, err := os.MkdirTemp("", "strata-orders-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
		o.dir = filepath.Join(parent, "log")
	}
	started := time.Now()
	if o.crashes == 0 {
		err = work(ctx, o, io.Discard)
	} else {
		err = crashing(ctx, o, progress)
	}
	if err != nil {
		return err
	}
	r, err := count(ctx, o)
	if err != nil {
		return err
	}
	r.Crashes = o.crashes
	r.Seconds = time.Since(started).Seconds()
	r.Rate = float64(r.Orders) / r.Seconds
	if err := r.print(out, o.json); err != nil {
		return err
	}
	return r.check(o.orders)
}

// crashing runs children until one has finished all orders, and kills the first ones before that.
func crashing(ctx context.Context, o options, progress io.Writer) error {
	for life := 0; ; life++ {
		// Each kill has a part of the orders of its own, and the last part has none.
		limit := -1
		if life < o.crashes {
			part := o.orders / (o.crashes + 1)
			limit = life*part + rand.IntN(max(part, 1))
		}
		killed, err := runChild(ctx, o, limit, progress)
		if err != nil {
			return err
		}
		if !killed {
			if life < o.crashes {
				return fmt.Errorf("the program finished before it was killed %d times", o.crashes)
			}
			return nil
		}
	}
}

// runChild runs a child, and kills it once more than limit orders are finished, at a moment by chance.
func runChild(ctx context.Context, o options, limit int, progress io.Writer) (killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	c := exec.CommandContext(ctx, self, "--child", "--dir", o.dir, "--orders", strconv.Itoa(o.orders),
		"--event-driven="+strconv.FormatBool(o.eventDriven), "--hold="+strconv.FormatBool(limit >= 0))
	c.Stderr = progress
	pipe, err := c.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := c.Start(); err != nil {
		return false, err
	}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		n, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			continue
		}
		fmt.Fprintf(progress, "%d of %d orders finished\n", n, o.orders)
		if limit >= 0 && n >= limit && n < o.orders && !killed {
			killed = c.Process.Kill() == nil
			fmt.Fprintln(progress, "killed")
		}
	}
	if err := c.Wait(); err != nil && !killed {
		return false, err
	}
	return killed, nil
}

// report is what came of the orders.
type report struct {
	Orders           int     `json:"orders"`
	Completed        int     `json:"completed"`
	Compensated      int     `json:"compensated"`
	Parked           int     `json:"parked"`
	MailsSent        int     `json:"mails_sent"`
	MailsDead        int     `json:"mails_dead"`
	Duplicates       int     `json:"duplicates"`
	Crashes          int     `json:"crashes"`
	MoneyIn          int     `json:"money_in"`
	MoneyOfCompleted int     `json:"money_of_completed"`
	Seconds          float64 `json:"seconds"`
	Rate             float64 `json:"orders_per_second"`
	// Statuses and Revenue are what the projections say: how many orders have each status, and the sum of
	// the revenue of all days.
	Statuses map[string]int `json:"-"`
	Revenue  int            `json:"-"`
}

func (r *report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		name  string
		value any
	}{
		{"orders placed", r.Orders}, {"completed", r.Completed}, {"compensated", r.Compensated}, {"parked", r.Parked},
		{"mails sent", r.MailsSent}, {"mails dead", r.MailsDead}, {"duplicates", r.Duplicates}, {"money in", r.MoneyIn},
		{"money of completed orders", r.MoneyOfCompleted}, {"crashes", r.Crashes},
		{"time", fmt.Sprintf("%.1f s, %.0f orders/s", r.Seconds, r.Rate)},
	} {
		fmt.Fprintf(t, "%s\t%v\n", line.name, line.value)
	}
	return t.Flush()
}

// check says what is not as it should be.
func (r *report) check(orders int) error {
	var errs []error
	if r.Orders != orders || r.Orders != r.Completed+r.Compensated+r.Parked {
		errs = append(errs, fmt.Errorf("%d of %d orders, of which %d ended", r.Orders, orders, r.Completed+r.Compensated+r.Parked))
	}
	if r.Duplicates != 0 {
		errs = append(errs, fmt.Errorf("%d effects were booked twice", r.Duplicates))
	}
	if r.Statuses["shipped"] != r.Completed || r.Statuses["cancelled"] != r.Compensated || r.Revenue != r.MoneyOfCompleted {
		errs = append(errs, fmt.Errorf("the projections say %v and a revenue of %d", r.Statuses, r.Revenue))
	}
	if r.MoneyIn != r.MoneyOfCompleted {
		errs = append(errs, fmt.Errorf("money in is %d, and the completed orders are worth %d", r.MoneyIn, r.MoneyOfCompleted))
	}
	return errors.Join(errs...)
}
