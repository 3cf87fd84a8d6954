package aggregate

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// ErrNoHandler is returned for a command whose Go type has no route.
var ErrNoHandler = errors.New("aggregate: no handler for the command")

// ErrRejected is matched by the error for a command whose own Validate returns one, which it wraps.
var ErrRejected = errors.New("aggregate: command is not valid")

// Command asks for something to be done. Body is a value of a Go type that has a route. Where its
// Origin has a CommandID it is done at most once; that is also the CausationID of its events, and the
// CorrelationID, where these are "".
type Command struct {
	Origin
	Body any
}

// CommandHandler does a command.
type CommandHandler func(ctx context.Context, c Command) (Result, error)

// Middleware puts something around a CommandHandler: logging, authorization, metrics.
type Middleware func(next CommandHandler) CommandHandler

// Commands brings commands to the aggregates that they are for: Route adds what it knows, and then Do may be
// called concurrently.
type Commands struct {
	routes map[reflect.Type]CommandHandler
	do     CommandHandler
}

// NewCommands returns Commands without a route. The first middleware is the outermost.
func NewCommands(middleware ...Middleware) *Commands {
	c := &Commands{routes: map[reflect.Type]CommandHandler{}}
	c.do = c.dispatch
	for i := len(middleware) - 1; i >= 0; i-- {
		c.do = middleware[i](c.do)
	}
	return c
}

// Route makes commands of the Go type C go to the aggregate that id names, by Repository.Handle. It
// replaces another route of C.
func Route[C, A any](to *Commands, r *Repository[A], id func(C) string, decide func(context.Context, *A, C) error) {
	to.routes[reflect.TypeFor[C]()] = func(ctx context.Context, c Command) (Result, error) {
		body := c.Body.(C) // it came here by its type
		return r.Handle(ctx, id(body), func(a *A) error { return decide(ctx, a, body) }, SaveOptions{Origin: c.Origin})
	}
}

// Do does a command. A Body that has a method Validate() error must pass it first; what the middleware
// returns is returned.
func (c *Commands) Do(ctx context.Context, command Command) (Result, error) {
	if command.CausationID == "" {
		command.CausationID = command.CommandID
	}
	if command.CorrelationID == "" {
		command.CorrelationID = command.CommandID
	}
	return c.do(ctx, command)
}

// dispatch is the innermost handler.
func (c *Commands) dispatch(ctx context.Context, command Command) (Result, error) {
	handle := c.routes[reflect.TypeOf(command.Body)]
	if handle == nil {
		return Result{}, fmt.Errorf("%w: %T", ErrNoHandler, command.Body)
	}
	if v, ok := command.Body.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return Result{}, fmt.Errorf("%w: %w", ErrRejected, err)
		}
	}
	return handle(ctx, command)
}
