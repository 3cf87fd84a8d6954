// Package harness breaks logs in every way that a machine may break them, and checks that nothing
// that was promised is gone.
//
// A [Workload] is a few dozen calls: of a [Session], which knows what a log must do, or of a layer or a
// program of one's own. [Run] runs it once on a file system in memory, takes a picture of the machine
// before and after each of its file operations, and makes of each picture the directories that a kill or
// a power cut at that moment may leave. Each is opened and checked. [Nested] crashes the recovery too,
// [Tear] cuts single writes, [Errors] and [Syncs] make each operation fail, [Damage] flips bytes of what
// was closed, [Kills] ends real processes, [Model] and [Same] draw calls.
//
// # Crash a program of one's own
//
// Set Opaque, append through [Session.Log], note what is about to be tried by [Session.Attempt] and what
// was acknowledged as durable by [Session.Promise], and give a Check, which is called with the opened
// log and all notes up to the crash. See the example.
//
// # Invariants that are checked on every image
//
//   - It opens without an error.
//   - What was acknowledged as synced is there after a power cut, and what was acknowledged as written
//     after a kill: byte-equal, at its offset and position.
//   - Nothing is there that was not attempted. A commit that failed, or was under way, is absent or whole.
//   - Offsets and positions have no gap.
//   - Reading by scan, by index, from an offset and from a position gives the same.
//   - Opening twice changes nothing. No file vanishes, and no byte of a segment is destroyed.
//   - What is appended afterwards is there after another opening.
//   - No handle is open after Close; nothing panics.
//
// Steps are made by one goroutine and all chance comes from a seed, which is printed with a failure
// together with the command that repeats it.
package harness
