// Package consumer reads topics in groups: the partitions of a group's topics are shared out among its
// members, goroutines of one process, and how far each partition is done is kept in the log.
//
//	m, err := consumer.Join(ctx, l, "billing", consumer.Options{Topics: []string{"orders"}})
//	for rec, err := range m.Records(ctx) {
//		…
//		m.Mark(rec) // done: its offset is committed within a second, and when m closes
//	}
//
// or with a loop for each partition ([Member.PartitionRecords]), or with a handler, which [Run] calls for as
// many records at once as it is told; or, with the offset in the same commit as what comes of the record, so that both happen or neither:
//
//	c := l.NewCommit()
//	c.Append(invoices, invoiceFor(rec))
//	c.Require(m.Done(rec))
//	_, err = c.Commit(ctx)
//
// # What is guaranteed
//
// Every record is delivered at least once to the group, and again after a crash when its offset was not
// committed. Records of a partition come in order. The offset that is committed is that of the first
// unfinished record, never a later one, and it never goes back but by [Reset]. Effects that ride in the
// commit that moves the offset happen exactly once.
//
// Every change of the members or of what they own is a commit that raises the group's generation, and is
// in the log before a member learns of it. A partition is owned by one member at a time, since the
// generation in which it was given to that member: commits of offsets carry that generation, and those of
// an earlier owner are refused with a [*FencedError]. A partition that stays with its owner through a
// rebalance is not disturbed by it.
//
// # State
//
// Everything is derived from the engine's topic "__strata.groups" by one view of the same name. Its
// records have the key that they change as their key. What was committed of a topic that is deleted since
// is deleted by the next change of the group, or by [Expire].
//
//	'g' group                                  the group: JSON of State
//	'o' u8 length, group | topic id | u32      the offset of a partition; integers are big-endian
//
// The value of an offset, and of the records that set it:
//
//	0  u8   1
//	1  u32  generation in which the partition was given to its owner
//	5  i64  offset of the first unfinished record, -1 for none
//	13 i32  leader epoch of the record before it, -1 for none
//	17 i64  time of the commit, milliseconds since 1970
//	25 ..   metadata
//
// A record without a value deletes its key.
package consumer
