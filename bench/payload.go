package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Payloads returns n records of exactly size bytes each, the same for the same arguments. They are
// JSON events of ids, times, numbers and words, so that they compress as such events do: neither
// random bytes nor one text again and again would tell the truth about an engine that compresses.
// size is at least 64.
func Payloads(n, size int) [][]byte {
	rng := rand.New(rand.NewPCG(uint64(size), 0x5354524154410001))
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	out := make([][]byte, n)
	// One allocation, so that neighbours are neighbours in memory as they are in a caller's buffer.
	all := make([]byte, 0, n*size)
	for i := range out {
		at = at.Add(time.Duration(rng.IntN(2_000_000)) * time.Microsecond)
		from := len(all)
		all = event(all, rng, at, size)
		out[i] = all[from:len(all):len(all)]
	}
	return out
}

const eventEnd = `"}`

// event appends one event of size bytes to b.
func event(b []byte, rng *rand.Rand, at time.Time, size int) []byte {
	end := len(b) + size
	b = fmt.Appendf(b, `{"id":"%016x","at":"%s","kind":"%s"`, rng.Uint64(), at.Format("15:04:05.000"), kinds[rng.IntN(len(kinds))])
	for {
		var field string
		switch rng.IntN(4) {
		case 0:
			field = fmt.Sprintf(`,"customer":%d,"amount":%d.%02d`, rng.IntN(1_000_000), rng.IntN(5000), rng.IntN(100))
		case 1:
			field = fmt.Sprintf(`,"item":{"sku":"%c%c-%05d","quantity":%d}`, 'A'+rng.IntN(26), 'A'+rng.IntN(26), rng.IntN(100_000), 1+rng.IntN(9))
		case 2:
			field = fmt.Sprintf(`,"trace":"%016x%016x"`, rng.Uint64(), rng.Uint64())
		case 3:
			field = fmt.Sprintf(`,"place":{"lat":%.5f,"lon":%.5f}`, rng.Float64()*180-90, rng.Float64()*360-180)
		}
		if len(b)+len(field)+len(`,"note":"`)+len(eventEnd) > end {
			break
		}
		b = append(b, field...)
		if rng.IntN(3) == 0 && size > 512 {
			field = fmt.Sprintf(`,"%s":"%s"`, words[rng.IntN(len(words))], phrase(rng, 6))
			if len(b)+len(field)+len(`,"note":"`)+len(eventEnd) <= end {
				b = append(b, field...)
			}
		}
	}
	b = append(b, `,"note":"`...)
	for len(b) < end-len(eventEnd) {
		word := words[rng.IntN(len(words))] + " "
		b = append(b, word[:min(len(word), end-len(eventEnd)-len(b))]...)
	}
	b = b[:end-len(eventEnd)]
	return append(b, eventEnd...)
}

func phrase(rng *rand.Rand, n int) string {
	picked := make([]string, n)
	for i := range picked {
		picked[i] = words[rng.IntN(len(words))]
	}
	return strings.Join(picked, " ")
}

var kinds = []string{"order.placed", "order.paid", "order.shipped", "cart.changed", "mail.sent", "login"}

var words = strings.Fields(`the of and to in is that for it as was with be by on not he his but at are this
have from or had an they which one you were all her she there would their we him been has when who will no
more if out so up said what its about than into them can only other time new some could these two may first
then do any like my now over such our man me even most made after also did many off before must well back
through years much where your way down should because long each just state those people too mister how
little world very year still see own work men day get here old between both life being under three never
know same last another while us might great go come since against right came take used himself few house
american use place during high without again home around small however found mind room water account paid`)
