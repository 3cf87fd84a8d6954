package log

// window holds the values that commits gave to the keys of conditions, from the moment at which they
// were sequenced. A caller reads the value of a key outside of Log.mu, as it is applied; under the
// mutex the window replaces it where a commit that is not applied yet has changed it. Entries stay for
// a while after they are applied, since a caller may have read before that. It is guarded by Log.mu.
type window struct {
	entries map[windowKey]windowEntry
	order   []windowSlot // from next on; by position
	next    int
	bytes   int
	// floor is the position behind the last change that was forgotten: who has read as of a position
	// below it must read again.
	floor uint64
}

type windowKey struct {
	view *view
	key  string
}

type windowEntry struct {
	value    []byte
	position uint64 // behind the commit
}

type windowSlot struct {
	key      windowKey
	position uint64
	bytes    int
}

// windowBytes bounds what is kept of commits that are applied. Those that are not are bounded by how
// far the applier may be behind.
const windowBytes = 1 << 20

// put notes that the commit that ends at position gives the key this value.
func (w *window) put(k windowKey, value []byte, position, applied uint64) {
	if w.entries == nil {
		w.entries = map[windowKey]windowEntry{}
	}
	w.entries[k] = windowEntry{value, position}
	s := windowSlot{k, position, len(k.key) + len(value) + 2*cellBytes}
	w.order = append(w.order, s)
	w.bytes += s.bytes
	for w.bytes > windowBytes && w.next < len(w.order) && w.order[w.next].position <= applied {
		old := &w.order[w.next]
		if w.entries[old.key].position == old.position {
			delete(w.entries, old.key)
		}
		w.floor = old.position
		w.bytes -= old.bytes
		*old = windowSlot{}
		w.next++
	}
	if w.next > len(w.order)/2 && w.next > 1024 {
		n := copy(w.order, w.order[w.next:])
		clear(w.order[n:])
		w.order, w.next = w.order[:n], 0
	}
}
