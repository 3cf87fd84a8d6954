package main

import "slices"

// engine is one way to keep a log: Strata, a peer, or a yardstick.
type engine struct {
	name string
	// note is what it does not do, or what else a reader of its figures should know.
	note string
	// yardstick marks those that are no engine: they cannot be read back.
	yardstick bool
	// native says that Append may be called by many writers at once, which then share syncs. The
	// others are given the group committer.
	native bool
	// events marks those that are event stores, and in E1 and E2 alone.
	events bool
	// only lists the workloads that it is in; nil is all that it can do.
	only []string
	open func(dir string, o options) (store, error)
}

// options is what a workload asks of an engine.
type options struct {
	sync bool // Append returns when the records are durable
}

// store is an open log of one engine. Records are numbered from 0.
type store interface {
	writer() writer
	close() error
}

// writer appends for one goroutine.
type writer interface {
	// append appends records as one unit.
	append(records [][]byte) error
}

// replayer reads every record in order.
type replayer interface {
	replay(each func(record []byte)) error
}

// getter reads one record, which is valid until the next call.
type getter interface {
	get(i int) ([]byte, error)
}

// pipeliner appends without waiting.
type pipeliner interface {
	// start begins an append and returns what waits for it.
	start(records [][]byte) (wait func() error, err error)
}

// follower yields records as they are appended.
type follower interface {
	// follow calls each with every new record until that returns false. ready is called once it would
	// see the next append.
	follow(ready func(), each func(record []byte) bool) error
}

// grouper reads as a durable consumer, which acknowledges what it has read.
type grouper interface {
	// consume calls each with every record and acknowledges it. It returns when all acknowledgements are
	// where they belong. Each call is a new consumer.
	consumeGroup(records int, each func(record []byte)) error
}

// writerFunc is a writer that many goroutines may use.
type writerFunc func(records [][]byte) error

func (f writerFunc) append(records [][]byte) error { return f(records) }

// engines lists all, in the order of the tables.
func engines() []engine {
	return append([]engine{
		strata("strata", ""), strata("strata-buffered", "returns before the write"),
		strata("strata-default", "synced in the background every 100 ms, as by default"),
		strata("strata-4g", "segments of 4 GiB, so that none ends during a trial"),
		strata("strata-zstd", "batches compressed with zstd"),
		tidwall, raftWAL, etcd, bolt, pebbleEngine, promWlog, natsEngine,
		bare, bareSync, bareOverwrite,
	}, slices.Concat(eventEngines(), sagaEngines(), liveEngines(), queueEngines())...)
}

func (e engine) in(workload string) bool {
	if e.events {
		return workload == "E1" || workload == "E2"
	}
	if e.only == nil {
		return true
	}
	for _, w := range e.only {
		if w == workload {
			return true
		}
	}
	return false
}
