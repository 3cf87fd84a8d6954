package record

// headerKeys remembers the strings of header keys met lately, so that decoding a record does not
// allocate for keys that come again and again, and its caller still gets ordinary strings that may
// be kept. It is a cache of fixed size in which a new key replaces another of the same slot.
type headerKeys struct {
	slots [64]string
}

// rememberedKeyBytes is the longest key that is remembered; together they bound the cache to 8 KiB.
const rememberedKeyBytes = 128

// intern returns b as a string.
func (k *headerKeys) intern(b []byte) string {
	if len(b) == 0 || len(b) > rememberedKeyBytes {
		return string(b)
	}
	slot := &k.slots[keySlot(b)%uint32(len(k.slots))]
	if *slot != string(b) { // the compiler makes no string for the comparison
		*slot = string(b)
	}
	return *slot
}

// keySlot hashes b by FNV-1a; keys are short, and often alike but for their last bytes.
func keySlot(b []byte) uint32 { return fnv1aSum(b) }
