// Package index finds where in a segment the batches of a partition lie.
//
// All partitions share the segments of the log, so the records of one partition are scattered
// over a file. An index holds one [Entry] for each batch of a segment, sorted by partition and
// then by offset: the *run* of a partition is the sequence of its entries. [Memory] is the index
// of the active segment, [File] that of a sealed one; both are a [Reader] and answer alike.
//
// # Invariants
//
//   - In a run, offset ranges [Offset, Offset+Count) rise and do not overlap. They may leave
//     gaps, which compaction makes.
//   - In a run, byte positions never fall. They are equal only for batches of the same frame.
//   - MaxTimestamp of a read entry is the maximum over the run so far, so it never falls, and a
//     binary search by time is possible although the timestamps of batches are in any order.
//   - The index is a hint. Every answer is checked against the batch it leads to, and losing the
//     index costs the time to rebuild it, never data.
//
// # File format, version 1
//
// Integers are little-endian. A file is a sequence of blocks of 4096 bytes, numbered from 0,
// and nothing else. Bytes that nothing below speaks of are zero.
//
//	block 0        1 .. leaves    .. nodes               to the end
//	+--------------+--------------+----------------------+---------------+
//	| head         | leaf nodes   | inner nodes, by      | topic blocks  |
//	|              | (entries)    | level; last the root | (bytes)       |
//	+--------------+--------------+----------------------+---------------+
//
// Nodes are those of a static tree, as in a B+ tree: a lookup reads one block a level, so an open index
// costs a few hundred bytes however many partitions it knows. Inner nodes that were read stay in memory,
// at most 16 MiB of them in all open files together, so that most lookups read a leaf alone. With 170 rows in an inner node two levels serve about ten thousand
// partitions and three serve a million batches.
//
// Head:
//
//	0      u32 magic "SIDX"
//	4      u8  version, 1
//	5      u8  height: levels of the tree, 0 when there are no entries
//	6      u16 length of the segment's name
//	8      [16] id of the log
//	24     i64 end byte of the segment
//	32     u64 end position of the segment
//	40     u32 leaves: the number of leaf nodes
//	44     u32 nodes: the number of nodes of all levels; also the number of the root's block
//	48     u32 topics
//	52     u32 runs: the number of partitions
//	56     u64 entries
//	64     name of the segment
//	4088   u64 check: xxh64 of bytes [0, 4088)
//
// Every other block:
//
//	0      u8  level: 0 a leaf, 1 and more an inner node, 255 a topic block
//	1      u8  zero
//	2      u16 rows, at least 1
//	4      u32 number of this block
//	8      rows of a fixed width, then, in a leaf only, the deltas
//	4088   u64 check: xxh64 of bytes [0, 4088), xor the check of the head
//
// The number and the head's check keep a block that is sound in itself from being taken for
// another one, of this file or of another.
//
// A row of a leaf is a *group*: up to 32 entries of one partition. Its row holds the values of
// its first entry, so a search in a leaf is binary over rows and then decodes one group.
//
//	0      u32 partition
//	4      u16 where its deltas begin, counted from the end of the block's last row
//	6      u16 number of entries, 1 to 32
//	8      i64 offset of the first entry
//	16     i64 byte position of the first entry
//	24     i64 running maximum of timestamps at the first entry, milliseconds
//	32     i64 bytes of all batches of this run before the first entry
//
// Its deltas are unsigned varints: count and size in bytes of the first entry; then, for each
// further one, the gap between its offset and the end of the one before, the difference in byte
// position, the difference in running maximum, its count, and its size in bytes.
//
// A row of an inner node speaks of the first entry below one child, of the level beneath:
//
//	0      u32 partition
//	4      u32 number of the child's block
//	8      i64 offset
//	16     i64 running maximum of timestamps, milliseconds
//
// Children of a level follow each other in the order of the rows that name them. A row of a
// topic block is the [16] id of a topic and the i64 bytes of its batches in this segment, sorted
// by id.
package index
