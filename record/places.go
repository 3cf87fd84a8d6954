package record

// Places appends to places where in b, which begins with a batch, each of its records begins, and then where
// the last one ends: the record with offset delta i is in b from the i-th place up to the next, and
// DecodeAlone decodes it. ok is false, and nothing was appended, when there is no such table: the batch is
// compressed, has gaps between its offsets, or is malformed.
func Places(b []byte, places []uint32) (_ []uint32, ok bool) {
	h, err := ParseHead(b)
	if err != nil || h.Codec() != None || h.Count != h.LastOffsetDelta+1 {
		return places, false
	}
	d := Decoder{head: h, records: b[HeadBytes:h.Bytes()], delta: -1}
	before := len(places)
	for range h.Count {
		f, err := d.frame()
		if err != nil {
			return places[:before], false
		}
		places = append(places, uint32(HeadBytes+d.at))
		d.pass(f)
	}
	if d.at != len(d.records) {
		return places[:before], false
	}
	return append(places, uint32(h.Bytes())), true
}

// DecodeAlone decodes into r the record that b holds and nothing else, of a batch with the head h, as
// Decoder.Next does. Key, Value and header values are parts of b. Whatever is malformed is a *BatchError.
func DecodeAlone(h *Head, b []byte, r *Record) error {
	d := Decoder{head: *h, records: b, delta: -1}
	d.head.Count = 1
	if _, err := d.Next(r); err != nil {
		return err
	}
	_, err := d.Next(nil) // that nothing is left over
	return err
}
