// Package segment holds one file of frames: its format, and how it is written, read, scanned,
// judged after a crash, and replaced. It knows no topics; what a batch means is for package log.
//
// # Files of a log directory
//
//	POSITION-GENERATION.seg   a segment; 20 and 6 decimal digits
//	POSITION-GENERATION.idx   its index, written when it is sealed (package index), and as far as the
//	                          segment goes by then, when the log is closed
//	MANIFEST                  which segments make up the log; absent until that set was first changed
//	*.new                     being made; never matters, removed by the next opening for writing
//
// A name is never used twice, and a file is never reused: backups, forks and readers in other
// processes may share it. All integers are little-endian, except inside record batches.
//
// # Segment head, 512 bytes
//
//	0    8  magic "StrataSg"
//	8    4  format version, 1
//	12   4  origin: 0 born, 1 repaired, 2 rewritten, 4 forked; bit 8: has a predecessor
//	16  16  log id
//	32   8  first position
//	40   8  generation
//	48  32  predecessor as of birth: first position, generation, end position, end byte
//	80   8  number of the manifest as of birth, 0 for none
//	88   8  creation time, microseconds since 1970
//	96 408  zero
//	504  8  xxh64 of [0, 504)
//
// The layout of the head and its check are the same in every version: a head that does not check is
// damage, one that checks and has a newer version is a newer format. The salt of a segment is
// xxh64(log id, base name), so that frames can be checked although the head is damaged.
//
// # Frame
//
// Behind the head come frames, each at a multiple of eight bytes. A frame is 48 bytes of head, then
// entries back to back, then zeros up to the next multiple of eight.
//
//	0   2  magic 0x5346
//	2   1  version, 1
//	3   1  kind (low four bits) and flags
//	4   4  length of the whole frame, a multiple of eight
//	8   8  position of the first record
//	16  8  time, microseconds since 1970, the log's time; never falls
//	24  8  durable: bytes of this segment known to be synced when the frame was written
//	32  8  body: depends on the kind, see below
//	40  8  head: xxh64 of [0, 40), salt and the frame's byte position
//	48  .. { 4 partition number | 4 position of its first record, relative to the frame's | RecordBatch v2 } *
//
// Zeros are never a valid frame. Every byte is under exactly one check: the head under `head`, the
// entries under `body`, the padding must be zero.
//
// In a commit, `body` is xxh64 over the payload check, then of each entry its eight head bytes and
// the eight bytes of its base offset. The payload check is xxh64 over the bytes from 8 on of all
// batches in order: its caller computes it before offsets are known, outside of any lock, and what
// is left to hash under the lock is sixteen bytes a batch.
//
// The first frame of a segment is its catalog frame. Behind its head come the leader epoch (4
// bytes), 4 zero bytes, and tables that package log defines; `body` is the xxh64 of all of that.
//
// End marks are frames without entries that say: all bytes before me are synced. They are idle,
// closing, sealing and recovered. `body` is the leader epoch of the frames before it, in a recovered
// mark one more; `time` is the last frame's, `durable` the mark's own byte position. A mark is
// therefore known but for its kind, which is what tells a damaged mark from a torn one.
//
// # Where a log ends
//
// At the first byte p that is not a valid frame: zeros from p to the end of the file are a clean
// end. Otherwise the rest is searched for a valid frame head whose `durable` lies beyond p: if there
// is one, bytes that were once synced are damaged, and that is a *CorruptError; nothing is changed.
// If there is none, p begins a torn tail, of which nobody was promised anything.
//
// One window remains. Where no valid head survives behind the damage (the very last commit group
// before an unclean end, a last segment cut short or put back in an older version), damage looks like
// a torn tail or an earlier end, unless the index that was kept at a clean close reaches further.
//
// # What is assumed of a disk
//
// A sector of 512 bytes is written whole or not at all; writing the same bytes again does not harm
// those before them; a completed fdatasync is durable.
package segment
