package main

import (
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/stratalog/strata/log"
)

func (a *app) createCommand() *cobra.Command {
	var partitions int
	c := &cobra.Command{
		Use:   "create DIR TOPIC",
		Short: "Create a topic, and the log when there is none",
		Long: `Create a topic, and the log when there is none.

Creating the same topic again does nothing. A topic that exists with another number of partitions
is an error.`,
		Example:           "  strata create /var/lib/shop orders --partitions 8",
		Args:              arguments("DIR", "TOPIC"),
		ValidArgsFunction: completeDirectory,
	}
	c.Flags().IntVar(&partitions, "partitions", 1, "`number` of partitions")
	c.RunE = func(c *cobra.Command, args []string) error {
		if partitions < 1 {
			return usage("--partitions %d: a topic has at least one", partitions)
		}
		if err := log.CheckTopicName(args[1]); err != nil {
			return err // before there is a log
		}
		return a.withLog(args[0], nil, func(l *log.Log) error {
			t, err := l.Topic(args[1])
			if errors.Is(err, log.ErrNoTopic) {
				_, err = l.CreateTopic(c.Context(), args[1], log.TopicOptions{Partitions: partitions})
				return err
			}
			if err != nil {
				return err
			}
			if have := t.Partitions(); have != partitions {
				return &log.MismatchError{Name: args[1], Field: "partitions", Have: strconv.Itoa(have), Want: strconv.Itoa(partitions)}
			}
			return nil
		})
	}
	return c
}
