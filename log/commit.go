package log

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/stratalog/strata/record"
	"github.com/stratalog/strata/segment"
)

// Commit collects records for any number of topics and partitions, and conditions. Commit.Commit
// makes all of it happen at once, or nothing. It belongs to one goroutine; Reset makes it usable
// again with the memory that it has.
//
// Records are encoded as they are appended, so the caller may change its slices afterwards. What is
// wrong with an append is remembered and returned by Commit.
type Commit struct {
	l          *Log
	durability Durability
	codec      *record.Codec // of the batches; nil: as their topics say
	pieces     []*piece      // in order of their first record
	free       []*piece      // from earlier use
	refs       []ref         // of each record, in order of appending, when there is more than one piece
	records    int
	conditions []Condition
	keyless    int32 // partition of the records without a key, per topic of keylessOf
	keylessOf  *Topic
	err        error
	now        int64  // the log's time at the first record, milliseconds since 1970; 0 before
	frame      []byte // as encoded; aliases own or a builder's buffer
	own        []byte
	batches    []AppendedBatch
	// sequenced is called under Log.mu at the moment the commit has its place.
	sequenced func()
	system    bool   // may append to system topics
	kind      string // may append to topics of this kind
	// answers are what is known towards the verdicts of views; rests is the position behind what the
	// verdict rests on, where that may not be durable yet.
	answers []answer
	rests   uint64
	// told is how many pieces are not carried for conditions; carried says that those were added.
	told    int
	carried bool
	fresh   bool // the next record begins a piece of its own
	freeing bool // frees space, and may use the room that is kept for such commits
}

// piece is what a commit appends to one partition.
type piece struct {
	p       *Partition
	builder record.Builder
	raw     []byte // a batch as it came, in place of the builder's
	at      int    // of its batch in the frame
	bytes   int    // of its batch
	count   int    // of its offsets
	// producer is one more than the id of the producer that numbered the batch, or 0.
	producer int64
}

// ref says where a record of a commit is.
type ref struct {
	piece int32
	index int32
}

// AppendedBatch is where the records of one partition went.
type AppendedBatch struct {
	Topic     *Topic
	Partition int32
	Offset    int64  // of the first
	Count     int    // offsets are dense
	Position  uint64 // of the first; positions are dense too
}

// Result tells where a commit went.
type Result struct {
	// AppendedBatch is where the first records went, and with a single partition all of them.
	AppendedBatch
	// Duplicate says that the same commit was there already, and that the rest tells where.
	Duplicate bool

	batches []AppendedBatch // nil when there is one
	refs    []ref
}

// Batches tells where the records went, a partition each, in order of positions. The caller must not
// change them. They are valid until the Commit is Reset.
func (r *Result) Batches() []AppendedBatch {
	if r.batches == nil {
		return []AppendedBatch{r.AppendedBatch}
	}
	return r.batches
}

// Record returns partition, offset and position of the i-th record that was appended to the commit.
// It is valid until the Commit is Reset.
func (r *Result) Record(i int) (partition int32, offset int64, position uint64) {
	b, n := &r.AppendedBatch, i
	if len(r.refs) > 0 {
		b, n = &r.batches[r.refs[i].piece], int(r.refs[i].index)
	}
	return b.Partition, b.Offset + int64(n), b.Position + uint64(n)
}

// NewCommit returns an empty commit.
func (l *Log) NewCommit() *Commit {
	return &Commit{l: l, durability: defaultDurability}
}

// Reset empties c. What Results of it alias is no longer valid.
func (c *Commit) Reset() {
	c.free = append(c.free, c.pieces...)
	*c = Commit{
		l: c.l, durability: defaultDurability, pieces: c.pieces[:0], free: c.free, refs: c.refs[:0],
		conditions: c.conditions[:0], own: c.own, batches: c.batches[:0], answers: c.answers[:0],
	}
}

// Durability sets what is to be true when the commit is acknowledged, in place of the log's default.
func (c *Commit) Durability(d Durability) {
	if d > Buffered {
		c.fail(ErrOptions)
		return
	}
	c.durability = d
}

// Compress sets how the commit's batches are compressed, in place of what their topics are set to.
func (c *Commit) Compress(codec record.Codec) {
	if !codec.Supported() {
		c.fail(fmt.Errorf("%w: compression %v", ErrOptions, codec))
		return
	}
	c.codec = &codec
}

// Require adds conditions.
func (c *Commit) Require(conditions ...Condition) {
	c.conditions = append(c.conditions, conditions...)
}

// Append adds records to t, each to the partition that the topic's partitioner gives for its key.
// Records without a key go to one partition per commit, those of the next commit to the next.
func (c *Commit) Append(t *Topic, records ...Record) {
	parts := *t.partitions.Load()
	for i := range records {
		r := &records[i]
		var p *Partition
		switch {
		case len(parts) == 1:
			p = parts[0]
		case r.Key == nil:
			p = parts[c.keylessPartition(t, len(parts))]
		default:
			p = parts[t.options.Load().Partitioner.place(r.Key, len(parts))]
		}
		c.add(p, r)
	}
}

// AppendTo adds records to the partition p, whatever their keys.
func (c *Commit) AppendTo(p *Partition, records ...Record) {
	for i := range records {
		c.add(p, &records[i])
	}
}

// AppendAs is AppendTo for the layer that p's topic belongs to: kind is the topic's.
func (c *Commit) AppendAs(kind string, p *Partition, records ...Record) {
	was := c.kind
	c.kind = kind
	c.AppendTo(p, records...)
	c.kind = was
}

func (c *Commit) keylessPartition(t *Topic, n int) int32 {
	if c.keylessOf != t {
		c.keylessOf = t
		c.keyless = int32(t.keyless.Add(1) % uint32(n))
	}
	return c.keyless
}

func (c *Commit) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// add encodes r.
func (c *Commit) add(p *Partition, r *Record) {
	if c.err != nil {
		return
	}
	if err := c.accept(p); err != nil {
		c.fail(err)
		return
	}
	if n := record.EncodedRecordBytes(r); n > c.l.o.MaxRecordBytes {
		c.fail(&LimitError{What: "record", Limit: int64(c.l.o.MaxRecordBytes), Got: int64(n)})
		return
	}
	i := c.piece(p)
	pc := c.pieces[i]
	pc.builder.Append(r, c.time())
	if len(c.pieces) > 1 || len(c.refs) > 0 {
		c.refer(i, pc.builder.Count()-1)
	}
	c.records++
	if n := pc.builder.Bytes(); n > c.l.o.MaxCommitBytes {
		// Refused here already, so that what is collected stays bounded.
		c.fail(&LimitError{What: "commit", Limit: int64(c.l.o.MaxCommitBytes), Got: int64(n)})
	}
}

// time returns the timestamp of records that bring none.
func (c *Commit) time() int64 {
	if c.now == 0 {
		c.now = c.l.nowMS()
	}
	return c.now
}

// refer notes where the next record is. Before, all were in the first piece.
func (c *Commit) refer(piece, index int) {
	for len(c.refs) < c.records {
		c.refs = append(c.refs, ref{0, int32(len(c.refs))})
	}
	c.refs = append(c.refs, ref{int32(piece), int32(index)})
}

func (c *Commit) accept(p *Partition) error {
	if p.topic.l != c.l {
		return &TopicError{Topic: p.topic.name}
	}
	if err := p.check(); err != nil {
		return err
	}
	if p.topic.system() && !c.system {
		return &NameError{Name: p.topic.name, Reason: "only the engine appends to its topics"}
	}
	if p.topic.kind != c.kind && !p.topic.system() {
		return &KindError{Topic: p.topic.name, Kind: p.topic.kind}
	}
	return nil
}

// piece returns the index of the piece of p, which it makes when there is none.
func (c *Commit) piece(p *Partition) int {
	for i := len(c.pieces) - 1; i >= 0 && !c.fresh; i-- {
		if c.pieces[i].p == p && c.pieces[i].raw == nil && c.pieces[i].producer == 0 {
			return i
		}
	}
	var pc *piece
	if n := len(c.free); n > 0 {
		pc, c.free = c.free[n-1], c.free[:n-1]
	} else {
		pc = &piece{}
	}
	pc.p, pc.raw, pc.producer = p, nil, 0
	pc.builder.SetPrefix(segment.FrameHeadBytes + segment.EntryHeadBytes)
	pc.builder.LeaderEpoch(c.l.epoch)
	c.pieces = append(c.pieces, pc)
	return len(c.pieces) - 1
}

// AppendBatch adds a RecordBatch v2 as it came from a client: CRC and structure are checked, its
// offsets are assigned anew. The bytes are copied by Commit, and must not change before.
func (c *Commit) AppendBatch(p *Partition, batch []byte) {
	if c.err != nil {
		return
	}
	if err := c.accept(p); err != nil {
		c.fail(err)
		return
	}
	h, err := record.Validate(batch, c.l.o.MaxCommitBytes)
	if err != nil {
		c.fail(err)
		return
	}
	if h.Bytes() != len(batch) {
		c.fail(&record.BatchError{Byte: h.Bytes(), Check: "length"})
		return
	}
	c.pieces = append(c.pieces, &piece{p: p, raw: batch, count: int(h.Count)})
	for i := range int(h.Count) {
		c.refer(len(c.pieces)-1, i)
		c.records++
	}
	if h.ProducerID >= 0 {
		c.requireSequence(p, len(c.pieces)-1, h.ProducerID, h.ProducerEpoch, h.BaseSequence, int(h.Count))
	}
}

// encode makes the frame, but for what is known only when the commit is sequenced. Its result is
// the check over the payload.
func (c *Commit) encode() (payload uint64, err error) {
	if err := c.addCarried(); err != nil {
		return 0, err
	}
	if len(c.pieces) == 0 {
		return 0, ErrEmpty
	}
	flags := uint8(0)
	for _, pc := range c.pieces {
		if pc.raw != nil {
			flags = segment.FlagCRC
		}
	}
	if only := c.pieces[0]; len(c.pieces) == 1 && only.raw == nil && c.codecOf(only) == record.None {
		c.frame = only.builder.EncodedWithPrefix(false)
		only.at = segment.FrameHeadBytes + segment.EntryHeadBytes
		only.bytes = len(c.frame) - only.at
		only.count = only.builder.Count()
		payload = xxhash.Sum64(c.frame[only.at+8:])
		c.putEntry(only, 0)
	} else if payload, err = c.encodePieces(flags); err != nil {
		return 0, err
	}
	if n := len(c.frame); n > c.l.o.MaxCommitBytes {
		return 0, &LimitError{What: "commit", Limit: int64(c.l.o.MaxCommitBytes), Got: int64(n)}
	}
	for len(c.frame)%segment.FrameAlign != 0 {
		c.frame = append(c.frame, 0)
	}
	segment.FrameHead{Kind: segment.Commit, Flags: flags, Length: uint32(len(c.frame))}.Put(c.frame)
	return payload, nil
}

func (c *Commit) encodePieces(flags uint8) (uint64, error) {
	var payload xxhash.Digest
	payload.Reset()
	c.frame = append(c.own[:0], make([]byte, segment.FrameHeadBytes)...)
	defer func() { c.own = c.frame }()
	relative := uint32(0)
	for _, pc := range c.pieces {
		c.frame = append(c.frame, make([]byte, segment.EntryHeadBytes)...)
		pc.at = len(c.frame)
		if pc.raw != nil {
			c.frame = append(c.frame, pc.raw...)
			record.PutLeaderEpoch(c.frame[pc.at:], c.l.epoch)
		} else {
			var err error
			if c.frame, err = pc.builder.Finish(c.frame, c.codecOf(pc), flags&segment.FlagCRC != 0); err != nil {
				return 0, err
			}
			pc.count = pc.builder.Count()
		}
		pc.bytes = len(c.frame) - pc.at
		c.putEntry(pc, relative)
		relative += uint32(pc.count)
		_, _ = payload.Write(c.frame[pc.at+8:])
	}
	return payload.Sum64(), nil
}

func (c *Commit) codecOf(pc *piece) record.Codec {
	if c.codec != nil {
		return *c.codec
	}
	return pc.p.topic.options.Load().Compression
}

func (c *Commit) putEntry(pc *piece, relative uint32) {
	binary.LittleEndian.PutUint32(c.frame[pc.at-8:], pc.p.number)
	binary.LittleEndian.PutUint32(c.frame[pc.at-4:], relative)
}

// place fills in what sequencing decides. Log.mu is held.
func (c *Commit) place(position uint64, time int64, payload uint64) {
	le := binary.LittleEndian
	le.PutUint64(c.frame[8:], position)
	le.PutUint64(c.frame[16:], uint64(time))
	c.batches = c.batches[:0]
	for _, pc := range c.pieces {
		record.PutBaseOffset(c.frame[pc.at:], pc.p.next)
		c.batches = append(c.batches, AppendedBatch{
			Topic: pc.p.topic, Partition: pc.p.index, Offset: pc.p.next, Count: pc.count, Position: position,
		})
		pc.p.next += int64(pc.count)
		position += uint64(pc.count)
	}
	le.PutUint64(c.frame[32:], segment.BodyCheck(c.frame, payload))
}

// result tells where c went.
func (c *Commit) result() Result {
	r := Result{AppendedBatch: c.batches[0]}
	if c.told > 1 {
		r.batches, r.refs = c.batches[:c.told:c.told], c.refs
	}
	return r
}

// Append appends records to t in a commit of their own, with the log's default durability.
func (t *Topic) Append(ctx context.Context, records ...Record) (Result, error) {
	c := t.l.borrow()
	c.Append(t, records...)
	return t.l.finish(ctx, c)
}

// Append appends records to p in a commit of their own, with the log's default durability.
func (p *Partition) Append(ctx context.Context, records ...Record) (Result, error) {
	c := p.topic.l.borrow()
	c.AppendTo(p, records...)
	return p.topic.l.finish(ctx, c)
}

// borrow returns a commit from the pool.
func (l *Log) borrow() *Commit {
	if c, ok := l.count.commits.Get().(*Commit); ok {
		c.Reset()
		return c
	}
	return l.NewCommit()
}

// finish commits c and gives it back.
func (l *Log) finish(ctx context.Context, c *Commit) (Result, error) {
	r, err := c.Commit(ctx)
	if err == nil {
		r.batches = slices.Clone(r.batches)
		r.refs = slices.Clone(r.refs)
	}
	l.count.commits.Put(c)
	return r, err
}
