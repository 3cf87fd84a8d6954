package index

import (
	"encoding/binary"
	"fmt"
)

const (
	magic        = 0x58444953 // "SIDX"
	nameAt       = 64
	maxNameBytes = 255
)

// SegmentID says of which segment an index is, and up to where. Its end is part of it, because
// an index written for fewer bytes than the segment has would hide the rest.
type SegmentID struct {
	Name        string // base name of the segment's file, 1 to 255 bytes
	EndByte     int64  // first byte behind its last frame with records
	EndPosition uint64 // position behind its last record
	LogID       [16]byte
}

// head is block 0.
type head struct {
	segment SegmentID
	height  uint8
	leaves  uint32
	nodes   uint32
	topics  uint32
	runs    uint32
	entries uint64
}

func (h *head) encode() *block {
	b := &block{}
	binary.LittleEndian.PutUint32(b[0:], magic)
	b[4] = version
	b[5] = h.height
	binary.LittleEndian.PutUint16(b[6:], uint16(len(h.segment.Name)))
	copy(b[8:24], h.segment.LogID[:])
	binary.LittleEndian.PutUint64(b[24:], uint64(h.segment.EndByte))
	binary.LittleEndian.PutUint64(b[32:], h.segment.EndPosition)
	binary.LittleEndian.PutUint32(b[40:], h.leaves)
	binary.LittleEndian.PutUint32(b[44:], h.nodes)
	binary.LittleEndian.PutUint32(b[48:], h.topics)
	binary.LittleEndian.PutUint32(b[52:], h.runs)
	binary.LittleEndian.PutUint64(b[56:], h.entries)
	copy(b[nameAt:], h.segment.Name)
	binary.LittleEndian.PutUint64(b[checkAt:], b.sum())
	return b
}

// decodeHead checks block 0 of a file by itself. Version comes after the check: a newer index is
// not a damaged one.
func decodeHead(file string, b *block) (*head, error) {
	corrupt := func(at int64, check string, want, got uint64) error {
		return &CorruptError{File: file, Byte: at, Check: check, Want: want, Got: got}
	}
	if m := binary.LittleEndian.Uint32(b[0:]); m != magic {
		return nil, corrupt(0, "magic", magic, uint64(m))
	}
	if b.sum() != b.check() {
		return nil, corrupt(0, "checksum", b.sum(), b.check())
	}
	if b[4] != version {
		return nil, &FormatError{File: file, Version: b[4]}
	}
	name := int(binary.LittleEndian.Uint16(b[6:]))
	if name < 1 || name > maxNameBytes {
		return nil, corrupt(6, "head", maxNameBytes, uint64(name))
	}
	h := &head{
		segment: SegmentID{
			Name:        string(b[nameAt : nameAt+name]),
			EndByte:     int64(binary.LittleEndian.Uint64(b[24:])),
			EndPosition: binary.LittleEndian.Uint64(b[32:]),
			LogID:       [16]byte(b[8:]),
		},
		height:  b[5],
		leaves:  binary.LittleEndian.Uint32(b[40:]),
		nodes:   binary.LittleEndian.Uint32(b[44:]),
		topics:  binary.LittleEndian.Uint32(b[48:]),
		runs:    binary.LittleEndian.Uint32(b[52:]),
		entries: binary.LittleEndian.Uint64(b[56:]),
	}
	// Exactly one height and number of nodes belong to a number of leaves.
	if height, nodes := treeOf(h.leaves); h.height != height || uint64(h.nodes) != nodes {
		return nil, corrupt(44, "head", nodes, uint64(h.nodes))
	}
	if uint64(h.runs) > h.entries || h.entries > uint64(h.leaves)*maxLeafEntries {
		return nil, corrupt(56, "head", uint64(h.leaves)*maxLeafEntries, h.entries)
	}
	return h, nil
}

// treeOf returns the height and the number of nodes of a tree with so many leaves.
func treeOf(leaves uint32) (height uint8, nodes uint64) {
	for n := uint64(leaves); n > 0; n = (n + childrenPerNode - 1) / childrenPerNode {
		height++
		nodes += n
		if n == 1 {
			break
		}
	}
	return height, nodes
}

func (h *head) topicBlocks() int64 {
	return (int64(h.topics) + topicsPerBlock - 1) / topicsPerBlock
}

// fileBytes is the length of the file that has this head.
func (h *head) fileBytes() int64 { return (1 + int64(h.nodes) + h.topicBlocks()) * blockBytes }

// mismatch compares the identity in h with the one that the caller wants.
func (h *head) mismatch(file string, want SegmentID) error {
	have := h.segment
	differ := func(field string, have, want any) error {
		return &MismatchError{File: file, Field: field, Have: fmt.Sprint(have), Want: fmt.Sprint(want)}
	}
	switch {
	case have.LogID != want.LogID:
		return differ("log", fmt.Sprintf("%x", have.LogID), fmt.Sprintf("%x", want.LogID))
	case have.Name != want.Name:
		return differ("name", have.Name, want.Name)
	case have.EndByte != want.EndByte:
		return differ("end byte", have.EndByte, want.EndByte)
	case have.EndPosition != want.EndPosition:
		return differ("end position", have.EndPosition, want.EndPosition)
	}
	return nil
}
