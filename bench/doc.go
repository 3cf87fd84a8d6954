// Package bench holds what the measurements of Strata share: the payloads, and files written without
// any features as a yardstick. The Benchmark functions, the gates on allocations, on opening and on
// ratios are its tests; the comparison with other engines is the nested module bench/peers.
package bench
