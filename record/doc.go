// Package record holds what users append and read, and its encoding: records, and the batches in
// which records of one partition are kept. It is made of pure functions on bytes; it opens no files
// and starts no goroutines.
//
// # Batch format
//
// A batch is a RecordBatch of version 2 ("magic 2") of the Kafka protocol, byte for byte, as
// described in https://kafka.apache.org/documentation/#recordbatch, so that batches of foreign
// clients can be stored, and ours be sent to them, untouched. Fixed-width integers are big-endian.
//
//	 0        8        12       16    17    21      23         27         35         43
//	+--------+--------+--------+-----+-----+-------+----------+----------+----------+
//	| base   | length | leader |magic| crc | attri-| last     | base     | max      |
//	| offset |        | epoch  | = 2 |     | butes | offset   | timestamp| timestamp|
//	| i64    | i32    | i32    | i8  | u32 | i16   | delta i32| i64 ms   | i64 ms   |
//	+--------+--------+--------+-----+-----+-------+----------+----------+----------+
//	 43         51        53         57      61
//	+----------+---------+----------+-------+----------------------------------------+
//	| producer | producer| base     | count | records, compressed as one piece when  |
//	| id i64   | epoch   | sequence | i32   | the attributes name a codec            |
//	|          | i16     | i32      |       |                                        |
//	+----------+---------+----------+-------+----------------------------------------+
//
// length counts the bytes from 12 on. crc is the CRC-32C of the bytes from 21 on, so that the base
// offset and the leader epoch can be set when a batch is given its place, without touching the
// rest. attributes: bits 0-2 the codec, bit 3 "timestamps are the log's", bit 4 transactional, bit 5 control.
//
// A record is a sequence of varints (zigzag, seven bits a byte, least significant first) and bytes:
//
//	length of what follows | attributes i8 = 0 | timestamp delta | offset delta |
//	key length | key | value length | value | header count |
//	{ header key length | header key | header value length | header value } *
//
// A key length of -1 is a record without a key, a value length of -1 a null value; both differ from
// the empty ones. A header's key is never null, its value may be.
//
// # Invariants
//
//   - A batch holds at least one record. Offset deltas rise strictly and lie in [0, last offset
//     delta]. They are dense when a batch is first appended; compaction may leave gaps.
//   - base timestamp is the timestamp of the batch's first record. The others may be earlier.
//   - No length that was read is believed beyond the bytes that are left, and nothing is allocated
//     for it before that was checked. Compressed records are never expanded beyond the bound given.
//
// The CRC is for foreign clients. A log has a check of its own over each batch and may leave the
// crc field zero until the batch leaves for somebody who will look at it.
package record
