package record

// Validate checks a batch that comes from a client and is to be stored as it is, and returns its
// head. b is exactly one batch; its CRC is right; its codec is supported; every record decodes; their
// offset deltas are 0, 1, 2 … and the last offset delta agrees. Snappy records must be what every
// snappy decoder reads, without the extensions of s2.
//
// maxDecoded is as for Decoder.Reset, and so are the errors. Timestamps are not judged: some clients
// leave the maximum unset. Neither are the attributes beside the codec, nor the producer's fields, the
// base offset and the leader epoch; who assigns those knows more.
func Validate(b []byte, maxDecoded int) (Head, error) {
	h, err := ParseHead(b)
	if err != nil {
		return Head{}, err
	}
	if len(b) != h.Bytes() {
		return Head{}, headError(atLength, "length", int64(len(b)-uncountedBytes), int64(h.Length))
	}
	if h.LastOffsetDelta != h.Count-1 {
		return Head{}, headError(atLastOffsetDelta, "last offset delta", int64(h.Count-1), int64(h.LastOffsetDelta))
	}
	if err := VerifyCRC(b); err != nil {
		return Head{}, err
	}
	d := Decoder{strict: true}
	if err := d.Reset(b, maxDecoded); err != nil {
		return Head{}, err
	}
	// Count deltas that rise strictly from 0 or more to Count-1 or less are 0, 1, 2 …
	for r := (Record{}); ; {
		if more, err := d.Next(&r); err != nil {
			return Head{}, err
		} else if !more {
			return h, nil
		}
	}
}
