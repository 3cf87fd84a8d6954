// Package pubsub fans out: live, to subscribers in memory, and durably, through exchanges to topics
// and queues.
//
// A Hub is in memory alone. Subscribers name a topic or a pattern, and say what becomes of messages for
// which they are too slow: the publisher waits, the oldest is dropped, or the subscriber is
// disconnected; what is dropped is counted. A request is a message that is replied to. Durable
// subscriptions are consumer groups, of package consumer.
//
// Exchanges route records to topics, queues and other exchanges by bindings, as in AMQP. Exchanges and
// bindings are records of the log. What is published to an exchange goes to all of its destinations in
// one commit, which can hold more.
//
// # Patterns
//
// The words of a topic's name or a routing key are separated by dots; an empty one has no words. In a
// pattern the word * stands for one word, # for any number, also none; other words, and * and # beside
// other letters, stand for themselves.
//
// # Records of the topic __strata.exchanges
//
// The key is the name of an exchange, the value a JSON object:
//
//	{"op":"declare","exchange":{…}}   as ExchangeOptions
//	{"op":"bind","binding":{…}}       as Binding
//	{"op":"unbind","binding":{…}}
//	{"op":"delete"}                   the exchange; its bindings are unbound by records before
//
// # Keys and values of the view
//
//	'x' | name                       the exchange's options, as JSON
//	'b' | exchange | 0 | binding     the binding as JSON is part of the key; the value is one byte
package pubsub
