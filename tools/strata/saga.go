package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/saga"
)

// sagaFlags are those of the commands about sagas.
type sagaFlags struct {
	saga   string
	status string
	asJSON bool
}

func (a *app) sagaCommand() *cobra.Command {
	f := &sagaFlags{}
	c := &cobra.Command{
		Use:   "saga",
		Short: "Look at sagas, and decide about those that are parked",
		Long: `Look at sagas, and decide about those that are parked.

list and show work beside the running program. retry, resume and abort need the directory to themselves
and record what is asked; the program carries it out when it next runs.`,
		Example: `  strata saga list /var/lib/shop --status parked
  strata saga show /var/lib/shop order-7
  strata saga retry /var/lib/shop order-7`,
		RunE: func(*cobra.Command, []string) error { return usage("no verb given") },
	}
	c.PersistentFlags().StringVar(&f.saga, "saga", "", "only the saga of this `name`")
	c.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print an object a line")
	c.AddCommand(
		a.sagaListCommand(f), a.sagaShowCommand(f),
		a.sagaAskCommand(f, "retry", "Try again what an instance is parked at", (*saga.Store).Retry),
		a.sagaAskCommand(f, "resume", "Take what an instance is parked at for done, or for undone, and go on", (*saga.Store).Resume),
		a.sagaAskCommand(f, "abort", "Give an instance up: undo what it has done, or end it as it is when it is parked", (*saga.Store).Abort),
	)
	return c
}

func (a *app) sagaListCommand(f *sagaFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list DIR", Short: "List the instances", Args: arguments("DIR"), ValidArgsFunction: completeDirectory,
		Example: "  strata saga list /var/lib/shop --saga checkout --status parked",
		RunE: func(c *cobra.Command, args []string) error {
			var status saga.Status
			if f.status != "" {
				if err := status.UnmarshalText([]byte(f.status)); err != nil {
					return usage("--status %q: running, compensating, parked, completed, compensated or aborted", f.status)
				}
			}
			return a.withSagas(c.Context(), args[0], a.withReader, func(s *saga.Store) error {
				return a.listSagas(c.Context(), s, f, status)
			})
		},
	}
	c.Flags().StringVar(&f.status, "status", "", "only instances of this `status`")
	completeFlag(c, "status", "running", "compensating", "parked", "completed", "compensated", "aborted")
	return c
}

func (a *app) withSagas(ctx context.Context, dir string, with func(string, func(*log.Log) error) error, do func(*saga.Store) error) error {
	return with(dir, func(l *log.Log) error {
		s, err := saga.Open(ctx, l)
		if err != nil {
			return err
		}
		return do(s)
	})
}

func (a *app) listSagas(ctx context.Context, s *saga.Store, f *sagaFlags, status saga.Status) error {
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !f.asJSON {
		fmt.Fprintln(table, "SAGA\tID\tSTATUS\tSTEP\tUPDATED\tNEXT\tCAUSE")
	}
	for in, err := range s.List(ctx, f.saga, status) {
		if err != nil {
			return err
		}
		if f.asJSON {
			err = a.printJSON(in)
		} else {
			_, err = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
				in.Saga, in.ID, in.Status, dash(currentStep(&in)), moment(in.Updated), moment(in.Next), dash(firstLine(in.Cause)))
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// currentStep returns the step that an instance is at.
func currentStep(in *saga.Instance) string {
	if in.Step != "" || len(in.Steps) == 0 {
		return in.Step
	}
	return in.Steps[len(in.Steps)-1].Name
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func firstLine(text string) string {
	for i, c := range text {
		if c == '\n' {
			return text[:i]
		}
	}
	return text
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// findSaga returns the name of the saga that has an instance of this id.
func findSaga(ctx context.Context, s *saga.Store, f *sagaFlags, id string) (string, error) {
	if f.saga != "" {
		return f.saga, nil
	}
	names, err := s.Sagas(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, name := range names {
		_, err := s.Get(ctx, name, id)
		switch {
		case errors.Is(err, saga.ErrInstance):
		case err != nil:
			return "", err
		case found != "":
			return "", usage("%q is an instance of %q and of %q: --saga says which", id, found, name)
		default:
			found = name
		}
	}
	if found == "" {
		return "", fmt.Errorf("no instance %q", id)
	}
	return found, nil
}

// shownSaga is what show prints as JSON.
type shownSaga struct {
	saga.Instance
	Spent   map[string]string `json:"spent"`
	History []shownEvent      `json:"history"`
}

type shownEvent struct {
	Version uint64    `json:"version"`
	Offset  int64     `json:"offset"`
	Time    time.Time `json:"time"`
	saga.Event
}

func (a *app) sagaShowCommand(f *sagaFlags) *cobra.Command {
	return &cobra.Command{
		Use: "show DIR ID", Short: "Show the state and the history of an instance", Args: arguments("DIR", "ID"),
		Example: "  strata saga show /var/lib/shop order-7 --json", ValidArgsFunction: completeDirectory,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withSagas(c.Context(), args[0], a.withReader, func(s *saga.Store) error {
				return a.showSaga(c.Context(), s, f, args[1])
			})
		},
	}
}

func (a *app) showSaga(ctx context.Context, s *saga.Store, f *sagaFlags, id string) error {
	name, err := findSaga(ctx, s, f, id)
	if err != nil {
		return err
	}
	shown := shownSaga{Spent: map[string]string{}}
	if shown.Instance, err = s.Get(ctx, name, id); err != nil {
		return err
	}
	for i := range shown.Steps {
		shown.Spent[shown.Steps[i].Name] = shown.Steps[i].Spent(s.Now()).String()
	}
	for e, err := range s.History(ctx, name, id) {
		if err != nil {
			return err
		}
		shown.History = append(shown.History, shownEvent{e.Version, e.Offset, e.Time, e})
	}
	if f.asJSON {
		return a.printJSON(shown)
	}
	in := &shown.Instance
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "saga\t%s\nid\t%s\ndefinition\t%d\nstatus\t%s\n", in.Saga, in.ID, in.Definition, in.Status)
	fmt.Fprintf(table, "started\t%s\nupdated\t%s\nnext\t%s\ncause\t%s\nstate\t%s\n\n",
		moment(in.Started), moment(in.Updated), moment(in.Next), dash(firstLine(in.Cause)), dash(string(in.State)))
	fmt.Fprintln(table, "STEP\tPHASE\tATTEMPTS\tUNDO ATTEMPTS\tSPENT\tNEXT\tERROR")
	for i := range in.Steps {
		st := &in.Steps[i]
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", st.Name, st.Phase, st.Attempts, st.UndoAttempts,
			shown.Spent[st.Name], moment(st.Due), dash(firstLine(st.Error)))
	}
	fmt.Fprintln(table, "\nVERSION\tTIME\tEVENT\tSTEP\tATTEMPT\tERROR")
	for _, e := range shown.History {
		step := e.Step
		if step == "" {
			step = e.Name
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\n", e.Version, moment(e.Time), e.Type, dash(step), e.Attempt, dash(firstLine(e.Error)))
	}
	return table.Flush()
}

func (a *app) sagaAskCommand(f *sagaFlags, verb, short string, ask func(*saga.Store, context.Context, string, string) error) *cobra.Command {
	return &cobra.Command{
		Use: verb + " DIR ID", Short: short, Args: arguments("DIR", "ID"), ValidArgsFunction: completeDirectory,
		Example: "  strata saga " + verb + " /var/lib/shop order-7",
		RunE: func(c *cobra.Command, args []string) error {
			writer := func(dir string, do func(*log.Log) error) error { return a.withLog(dir, mustExist, do) }
			return a.withSagas(c.Context(), args[0], writer, func(s *saga.Store) error {
				name, err := findSaga(c.Context(), s, f, args[1])
				if err != nil {
					return err
				}
				if err := ask(s, c.Context(), name, args[1]); err != nil || !f.asJSON {
					return err
				}
				in, err := s.Get(c.Context(), name, args[1])
				if err != nil {
					return err
				}
				return a.printJSON(in)
			})
		},
	}
}
