// Command orders is a shop: orders go through a saga that reserves, takes payment and ships, or undoes what it
// has done when the payment is declined; a consumer group sends a mail for each order that was shipped, and
// parks the mails that cannot be sent.
//
//	go run ./examples/orders
//
// The program runs itself as a child and kills that child, three times, at random moments. Each time a new
// one goes on in the same log. What the pretended bank, warehouse and mail service have booked is in a file
// that outlives the kills, so that a booking made twice would be seen.
//
// With --event-driven the saga is transitions on the events of these services rather than steps. The exit
// status is 1 when anything is not as it should be.
package main
