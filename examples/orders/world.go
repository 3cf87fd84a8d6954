package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync"
)

// world is the bank, the warehouse, the carrier and the mail service: what they have booked, by idempotency
// key. It is a file, and outlives a kill of the program.
type world struct {
	mu     sync.Mutex
	file   *os.File
	booked map[string]int // the amount of each key; guarded by mu
	// duplicates are keys that were booked twice, as the file has them.
	duplicates int
}

func openWorld(path string) (*world, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	w := &world{file: f, booked: map[string]int{}}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var key string
		var amount int
		if n, _ := fmt.Sscan(lines.Text(), &key, &amount); n != 2 {
			continue
		}
		if _, again := w.booked[key]; again {
			w.duplicates++
		}
		w.booked[key] = amount
	}
	return w, nil
}

func (w *world) Close() error { return w.file.Close() }

// book books an amount, once for each key.
func (w *world) book(key string, amount int) error {
	key = strings.ReplaceAll(key, " ", "_")
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.booked[key]; ok {
		return nil
	}
	if _, err := fmt.Fprintln(w.file, key, amount); err != nil {
		return err
	}
	w.booked[key] = amount
	return nil
}

// sum returns the sum of all amounts, and how many keys begin with prefix.
func (w *world) sum(prefix string) (money, count int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, amount := range w.booked {
		money += amount
		if strings.HasPrefix(key, prefix) {
			count++
		}
	}
	return money, count
}
