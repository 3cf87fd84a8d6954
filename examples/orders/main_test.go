package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain is also the child: run starts the program that it is in.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--child" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestOrders runs the shop both ways, with and without kills: the books balance.
func TestOrders(t *testing.T) {
	for _, o := range []options{
		{orders: 100}, {orders: 100, eventDriven: true}, {orders: 200, crashes: 2}, {orders: 200, crashes: 2, eventDriven: true},
	} {
		o.json, o.dir = true, filepath.Join(t.TempDir(), "log")
		var out bytes.Buffer
		require.NoError(t, run(context.Background(), o, &out, io.Discard))
		var r report
		require.NoError(t, json.Unmarshal(out.Bytes(), &r))
		var keys map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &keys))
		require.ElementsMatch(t, []string{
			"orders", "completed", "compensated", "parked", "mails_sent", "mails_dead", "duplicates", "crashes", "money_in",
			"money_of_completed", "seconds", "orders_per_second",
		}, slices.Collect(maps.Keys(keys)))
		require.Equal(t, o.orders, r.Orders)
		require.Equal(t, o.orders/10, r.Compensated)
		require.Equal(t, o.orders*9/10, r.Completed)
		require.Equal(t, o.orders/20, r.MailsDead)
		require.Equal(t, r.Completed-r.MailsDead, r.MailsSent)
		require.Equal(t, o.crashes, r.Crashes)
	}
}

// TestSoldOut has too little of everything: the books balance all the same.
func TestSoldOut(t *testing.T) {
	for _, eventDriven := range []bool{false, true} {
		o := options{orders: 100, stock: 2, eventDriven: eventDriven, json: true, dir: filepath.Join(t.TempDir(), "log")}
		var out bytes.Buffer
		require.NoError(t, run(context.Background(), o, &out, io.Discard))
		var r report
		require.NoError(t, json.Unmarshal(out.Bytes(), &r))
		require.Zero(t, r.Parked)
		require.LessOrEqual(t, r.Completed, 2*items)
		require.Positive(t, r.Completed)
	}
}

// TestCheck tells books that do not balance.
func TestCheck(t *testing.T) {
	good := report{Orders: 10, Completed: 8, Compensated: 1, Parked: 1, MoneyIn: 5, MoneyOfCompleted: 5,
		Statuses: map[string]int{"shipped": 8, "cancelled": 1}, Revenue: 5}
	require.NoError(t, good.check(10))
	for _, change := range []func(*report){
		func(r *report) { r.Orders-- }, func(r *report) { r.Parked-- }, func(r *report) { r.Duplicates++ }, func(r *report) { r.MoneyIn-- },
		func(r *report) { r.Revenue++ }, func(r *report) { r.Statuses = nil },
	} {
		bad := good
		change(&bad)
		require.Error(t, bad.check(10))
	}
}
