// Package kmsgtest holds the record codec against implementations that share no code with it: the
// Kafka message types and the client of franz-go, and the partitioner of sarama. It is a module of
// its own, so that the engine depends on neither.
//
// It consists of tests only.
package kmsgtest
