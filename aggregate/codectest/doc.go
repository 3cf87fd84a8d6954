// Package codectest has events and snapshots in Protocol Buffers and in CBOR, by the Codec of package
// aggregate, and the tests that show that this works. It is a module of its own, so that the engine does not
// depend on either. Each codec is short enough to be copied into a program.
package codectest
