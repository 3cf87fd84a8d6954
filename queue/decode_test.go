package queue

import (
	"encoding/base64"
	"reflect"
	"testing"

	"github.com/stratalog/strata/log"
)

// FuzzDecode gives every decoder what it may meet on disk: none panics, and what decodes is encoded to what
// decodes to the same.
func FuzzDecode(f *testing.F) {
	it := item{in: inDelayed, level: 3, attempts: 2, size: 10, offset: 7, due: 5}
	t := take{head: 3, owner: "o", leased: []item{it}, until: 9, blocked: []item{{key: "k"}}, expired: []item{{in: inReady}}, gone: []int64{1}}
	s := settle{true, []outcome{{what: done, offset: 1}, {what: delayed, offset: 2, until: 3, cause: "c"}, {what: dead, until: 4}, {what: extended, until: 1}, {what: returned, cause: "x"}}}
	u := dedup{1, 2, 3}
	for _, b := range [][]byte{
		t.encode(), s.encode(), u.encode(), encodeRemove(4, []item{it}), encodeForget([]expiredID{{1, "id"}}), t.lease(),
		(&declared{id: 1, options: []byte(`{"lease":1}`)}).encode(), (&state{head: 1}).encode(),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, ok := decodeTake(b); ok {
			if again, ok := decodeTake(v.encode()); !ok || !reflect.DeepEqual(v, again) {
				t.Fatalf("%+v, %+v", v, again)
			}
			v.lease()
		}
		if v, ok := decodeSettle(b); ok {
			if again, ok := decodeSettle(v.encode()); !ok || !reflect.DeepEqual(v, again) {
				t.Fatalf("%+v, %+v", v, again)
			}
		}
		if v, ok := decodeDedup(b); ok {
			if again, ok := decodeDedup(v.encode()); !ok || v != again {
				t.Fatalf("%+v, %+v", v, again)
			}
		}
		if head, items, ok := decodeRemove(b); ok {
			if h, again, ok := decodeRemove(encodeRemove(head, items)); !ok || h != head || !reflect.DeepEqual(items, again) {
				t.Fatalf("%+v, %+v", items, again)
			}
		}
		if v, ok := decodeForget(b); ok {
			if again, ok := decodeForget(encodeForget(v)); !ok || !reflect.DeepEqual(v, again) {
				t.Fatalf("%+v, %+v", v, again)
			}
		}
		if owner, entries, ok := splitLease(b); ok {
			var list []leaseEntry
			var outcomes []outcome
			for ; len(entries) > 0; entries = entries[entryBytes:] {
				list = append(list, decodeEntry(entries))
				outcomes = append(outcomes, outcome{what: done, offset: list[len(list)-1].offset})
			}
			blob := newLease(owner, list)
			if o, rest, ok := splitLease(blob); !ok || o != owner || len(rest) != len(list)*entryBytes {
				t.Fatalf("%q, %q", b, blob)
			}
			if left := settled(blob, outcomes, nil); left != nil {
				t.Fatalf("all are done, and %q is left", left)
			}
		}
		if len(b) > 20 {
			if it, ok := parseItem(b[:20], b[20:]); ok {
				if again, ok := parseItem(it.viewKey(1), it.viewValue()); !ok || again != it {
					t.Fatalf("%+v, %+v", it, again)
				}
			}
		}
		if q, ok := decodeDeclared(b); ok {
			_, _ = decodeOptions(q.options)
		}
		s, err := decodeState(b)
		if known := len(b) == 0 || len(b) == stateBytes || len(b) == stateBytes+1; known != (err == nil) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if again, err := decodeState(s.encode()); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v, %+v", s, again)
		}
		decodeHistory(b)
		duplicateOf(b, 1)
	})
}

// FuzzReceipt redeems what a client may send.
func FuzzReceipt(f *testing.F) {
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, receiptBytes)))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		id, lease, offset, ok := decodeReceipt(text)
		if !ok {
			return
		}
		if i, l, o, ok := decodeReceipt(encodeReceipt(id, lease, offset)); !ok || i != id || l != lease || o != offset {
			t.Fatal(text)
		}
	})
}

// FuzzCarried gives what stands for a message on its way any headers: none panics, and what is understood is
// understood again.
func FuzzCarried(f *testing.F) {
	for _, h := range [][2]string{
		{HeaderDue, "1000000"}, {HeaderDelay, "-1"}, {HeaderTTL, "9007199254740993"}, {HeaderPriority, "3"}, {HeaderAttempts, "x"},
		{HeaderDedupID, "id"}, {HeaderContentType, "text/plain"}, {"own", ""}, {HeaderDue, "-5"},
	} {
		f.Add(h[0], []byte(h[1]))
	}
	o := &Options{Dedup: 1}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		m, why := carried(&log.Record{Headers: []log.Header{{Key: key, Value: value}}}, o)
		if why != "" {
			return
		}
		r := m.Record()
		again, why := carried(&r, o)
		if why != "" || !again.At.Equal(m.At) {
			t.Fatalf("%q: %s, %+v, %+v", key, why, m, again)
		}
		if again.At = m.At; !reflect.DeepEqual(m, again) {
			t.Fatalf("%q: %+v, %+v", key, m, again)
		}
	})
}
