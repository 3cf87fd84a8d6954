package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/aggregate"
	"github.com/stratalog/strata/log"
)

// eventJSON is an event.
type eventJSON struct {
	Topic         string            `json:"topic"`
	Stream        string            `json:"stream"`
	Version       uint64            `json:"version"`
	Partition     int32             `json:"partition"`
	Offset        int64             `json:"offset"`
	Position      uint64            `json:"position"`
	ID            string            `json:"id"`
	Type          string            `json:"type"`
	Schema        int               `json:"schema"`
	Time          string            `json:"time"`
	CommandID     string            `json:"command_id,omitempty"`
	CorrelationID string            `json:"correlation_id,omitempty"`
	CausationID   string            `json:"causation_id,omitempty"`
	Tenant        string            `json:"tenant,omitempty"`
	TraceParent   string            `json:"traceparent,omitempty"`
	TraceState    string            `json:"tracestate,omitempty"`
	ContentType   string            `json:"content_type,omitempty"`
	Metadata      map[string]string `json:"metadata,omitempty"`
	Data          *string           `json:"data,omitempty"`
	DataBase64    string            `json:"data_base64,omitempty"`
}

// eventsFlags are those of events.
type eventsFlags struct {
	topic, to string
	from      uint64
	backward  bool
	asJSON    bool
}

func (a *app) eventsCommand() *cobra.Command {
	f := &eventsFlags{}
	c := &cobra.Command{
		Use:   "events DIR STREAM",
		Short: "Print the events of a stream",
		Long: `Print the events of a stream, a line each: version, time, type and data. Up to a time means up to the
first event that is later.`,
		Example: `  strata events /var/lib/shop order-7
  strata events /var/lib/shop order-7 --from 3 --to 10 --json
  strata events /var/lib/shop order-7 --to 2026-05-01T00:00:00Z`,
		Args:              arguments("DIR", "STREAM"),
		ValidArgsFunction: completeDirectory,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			return a.withReader(args[0], func(l *log.Log) error { return a.printEvents(c.Context(), l, args[1], f, o) })
		},
	}
	c.Flags().StringVar(&f.topic, "topic", "", "the `topic` that the stream is in, where several have one of that name")
	c.Flags().Uint64Var(&f.from, "from", 0, "the first `version` to print")
	c.Flags().StringVar(&f.to, "to", "", "where to end: `VERSION|TIME`, included, the time in RFC 3339")
	c.Flags().BoolVar(&f.backward, "backward", false, "begin with the last event")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print an object a line")
	return c
}

// options returns what is to be loaded.
func (f *eventsFlags) options() (aggregate.LoadOptions, error) {
	o := aggregate.LoadOptions{From: f.from, Backward: f.backward}
	if f.to == "" {
		return o, nil
	}
	if v, err := strconv.ParseUint(f.to, 10, 64); err == nil && v > 0 {
		o.To = v
		return o, nil
	}
	t, err := time.Parse(time.RFC3339, f.to)
	if err != nil {
		return o, usage("--to %q: a version, or a time as in 2006-01-02T15:04:05Z", f.to)
	}
	o.Until = t
	return o, nil
}

func (a *app) printEvents(ctx context.Context, l *log.Log, stream string, f *eventsFlags, o aggregate.LoadOptions) error {
	s, err := findStream(ctx, l, f.topic, stream)
	if err != nil {
		return err
	}
	for e, err := range s.Load(ctx, stream, o) {
		if err != nil {
			return err
		}
		if f.asJSON {
			err = a.printJSON(describeEvent(&e))
		} else {
			err = a.printf("%d\t%s\t%s\t%s\n", e.Version, e.Time.UTC().Format(timeFormat), e.Type, e.Data)
		}
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Version, err)
		}
	}
	return nil
}

func describeEvent(e *aggregate.Event) eventJSON {
	j := eventJSON{
		Topic: e.Topic, Stream: e.Stream, Version: e.Version, Partition: e.Partition, Offset: e.Offset, Position: e.Position,
		ID: e.ID, Type: e.Type, Schema: e.Schema, Time: e.Time.UTC().Format(timeFormat), CommandID: e.CommandID,
		CorrelationID: e.CorrelationID, CausationID: e.CausationID, Tenant: e.Tenant, TraceParent: e.TraceParent,
		TraceState: e.TraceState, ContentType: e.ContentType, Metadata: e.Metadata,
	}
	switch {
	case e.Data == nil:
	case utf8.Valid(e.Data):
		text := string(e.Data)
		j.Data = &text
	default:
		j.DataBase64 = base64.StdEncoding.EncodeToString(e.Data)
	}
	return j
}
