package aggregate_test

import (
	"errors"
	"fmt"

	"github.com/stratalog/strata/aggregate"
)

// Account is the aggregate of these tests.
type Account struct {
	aggregate.Root
	Owner   string
	Balance int
	Closed  bool
}

type (
	Opened    struct{ Owner string }
	Deposited struct{ Amount int }
	Withdrawn struct {
		Amount int
		Reason string
	}
	Closed struct{}
)

var errFunds = errors.New("insufficient funds")

func (a *Account) apply(event any) error {
	switch e := event.(type) {
	case Opened:
		a.Owner = e.Owner
	case Deposited:
		a.Balance += e.Amount
	case Withdrawn:
		a.Balance -= e.Amount
	case Closed:
		a.Closed = true
	default:
		return fmt.Errorf("no %T is known", event)
	}
	return nil
}

// Withdraw takes money off the account.
func (a *Account) Withdraw(amount int) error {
	if a.Balance < amount {
		return fmt.Errorf("%w: %d of %d", errFunds, amount, a.Balance)
	}
	return a.Raise(Withdrawn{Amount: amount})
}

// Deposit puts money on the account, which it opens if need be.
func (a *Account) Deposit(amount int) error {
	if a.Version() == 0 {
		if err := a.Raise(Opened{Owner: a.ID()}); err != nil {
			return err
		}
	}
	return a.Raise(Deposited{amount})
}

var accountEvents = aggregate.NewTypes(
	aggregate.EventType[Opened]("account.opened"),
	aggregate.EventType[Deposited]("account.deposited"),
	aggregate.EventType[Withdrawn]("account.withdrawn", 2),
	aggregate.EventType[Closed]("account.closed"),
)

var accountType = aggregate.Define("account", accountEvents, (*Account).apply)
