// Package queue makes work queues of a log: messages that are handed out to one receiver each, under a
// lease, until they are done. It offers what RabbitMQ and SQS give their users, embedded, and in the same
// commits as everything else.
//
//	q, err := queue.Declare(ctx, l, "mails", queue.Options{})
//	_, err = q.Send(ctx, queue.Message{Value: body})
//	err = q.Run(ctx, func(ctx context.Context, m *queue.Delivery) error {
//		return send(m.Value)
//	}, queue.RunOptions{Workers: 8})
//
// A message is a record of the queue's topic, whose name is the queue's; its id is its offset. Sending is
// appending: Stage adds messages to any commit. Done is a condition, so a message is taken off in the
// commit that holds what its handling has brought about, exactly once:
//
//	c.Append(orders, placed)
//	c.Require(m.Done())
//
// # Attempts
//
// A message is leased by a commit before it is handed out, so its attempts are counted also when the
// process dies. A lease ends by time, or, when it is held, as those of Run are, with its owner or the
// process. A message whose attempt has failed waits for the backoff of Options.Retry in the log, not in
// a worker, and holds up no other but, on an ordered queue, those of its own key. Behind the last
// attempt it goes to the dead letters, another queue, in the commit that takes it off this one, with the
// headers of record.Dead; Redrive takes it back.
//
// Leases, and what becomes of messages, are Written by default: they survive the death of the process,
// and after a power cut a message may be delivered once more. ReceiveOptions.Synced, and commits that
// hold more, have the durability that they ask for.
//
// # Memory
//
// What is ready and was never handed out is no more than a place in the topic, the head of the backlog:
// a queue of 10 GiB opens as fast as an empty one. Messages with a delay or a priority, those that were
// given back, and those that wait behind their key have a key in the view each, of which a bounded
// number is in memory.
//
// # Records of the topic __strata.queues
//
// The first byte of a value says what has happened. Numbers are uvarints unless it is said otherwise, a
// text is its length and its bytes. Times are in microseconds since 1970, of the log's time.
//
//	key: name                   'D' options as JSON         declared; the queue's id is the position of the commit
//	                            'Z'                         takes no messages any more
//	                            'X'                         is gone
//	key: be64 id | be64 lease   't' head | until | text owner | items leased | items blocked, each with its
//	                                key | items expired | count | offsets, of what was removed, passed by head
//	                            's' strict (1 byte) | count | outcomes
//	key: be64 id                'x' head | items removed    cancelled, purged or redriven
//	                            'p'                         the backlog is dropped
//	                            'f' count | until, text id  these DedupIDs are forgotten
//	key: be64 id | DedupID      'u' now | until | batches   was sent with this commit
//	key: a key of the view      'k'                         is dropped, of a queue that ends
//
// Items are a count and, for each, where it is (1 byte: 0 backlog, 1 ready, 2 delayed, 3 waiting), its
// priority (1 byte), offset, attempts, bytes, and, when delayed, due, when waiting, the text of its key.
// An outcome is a byte (0 done, 1 dead, 2 returned, 3 released, 4 delayed, 5 extended, 6 unchanged), the
// offset, until of dead, returned, delayed and extended, and the text of the cause of delayed and returned.
//
// # Keys of the view
//
//	'q' name                            be64 id | flags (1 bounded, 2 ends) | options as JSON
//	's' id                              head, end and counts, see the type state; 1 when 'c' is kept
//	't' id                              be64 messages | be64 bytes ever sent, of a bounded queue
//	'r' id | 9 - priority | offset      ready: attempts | priority | bytes
//	'd' id | due | offset               delayed: the same
//	'c' id | 20 or 32 | due >> that     be64: how many of 'd' are due in this stretch of time
//	'w' id | be16 length, key | offset  waiting behind its key: the same
//	'l' id | lease                      text owner | entries: offset, deadline (0 is held), be32 attempts, priority, bytes
//	'g' id | offset                     was removed from the middle of the backlog
//	'h' id | offset                     attempts that have failed: time | text cause
//	'u' id | DedupID                    until (0 is for ever) | batches
//	'v' id | until | DedupID            nothing
//
// Ids, offsets, times and leases are of 8 bytes here, big-endian. Conditions rest on 'q', 't', 'l' and 'u'.
//
// # Invariants
//
//   - Each message is in exactly one place: in the backlog, under one key of 'r', 'd' or 'w', in one entry of
//     one lease, or out. The counts under 's' are those of the places.
//   - A message leaves a lease by one commit, which the lease's own key decides.
//   - Nothing is handed out before its due time, by the log's time.
package queue
