// Command orders is a shop. Orders and inventory are event-sourced. Orders go through a saga that reserves, takes
// payment and ships, or undoes what it has done when the payment is declined. A consumer group orders a mail for
// each shipment from a queue, which tries again what fails and sets aside what cannot be sent. Two projections
// count orders by status and revenue by day.
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
