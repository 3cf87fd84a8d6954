// Command strata creates, fills, reads, inspects, verifies and repairs logs.
//
//	strata VERB [SUBVERB] DIR …
//
// Data goes to standard output and nothing else does; messages go to standard error, each line
// beginning "strata: ". The exit status is 0 when the command was done, 1 when it was done and the
// answer is bad (damage was found), 2 when it was not done. A closed standard output ends a command
// quietly.
//
// With --json a command prints one object a line: keys in snake_case, times in RFC 3339 UTC with
// milliseconds, headers as a list of {"key","value"}, bytes that are not UTF-8 in base64 under a name
// that ends in _base64, and what is missing as null.
//
// Commands that write need the directory to themselves. Those that only read work beside a live
// writer, in this or another process.
package main
