package main

// mutant is one way to break the engine, and the test that must notice.
type mutant struct {
	name     string
	file     string // below the module's root
	old, new string // old occurs once in file
	pkg      string
	tests    string // as for -run
}

const (
	logPkg     = "./log"
	segmentPkg = "./segment"
	harnessPkg = "./fuzz/harness"
	eventsPkg  = "./aggregate"
	modelsPkg  = "./projection"
)

var mutants = []mutant{
	{"ack-before-sync", "log/write.go", "	if g.sync {\n		if err == nil {\n", "	if false {\n		if err == nil {\n", harnessPkg, "TestT1"},
	{"sync-not-called", "log/write.go", "		err = seg.Sync()\n", "		_ = seg\n", harnessPkg, "TestT1"},
	{"durable-too-far", "log/write.go", "	durable := l.synced.byte\n", "	durable := l.written.byte + g.bytes\n", harnessPkg, "TestT1$"},
	{"failure-forgotten", "log/write.go", "	if l.failed == nil {\n		l.failed = ", "	if l.failed != nil {\n		l.failed = ", harnessPkg, "TestT4"},
	{"waiter-remembered", "log/group.go", "			g.waiters[i] = nil\n", "			_ = i\n", logPkg, "TestConcurrentCommits"},
	{"no-directory-sync", "segment/newborn.go", "	if err := SyncDir(n.fs, n.dir); err != nil {", "	if err := error(nil); err != nil {", harnessPkg, "TestT1"},
	{"newborn-not-synced", "segment/newborn.go", "		if err = file.Sync(); err != nil {", "		if err = nil; err != nil {", harnessPkg, "TestT1"},
	{"name-used-twice", "segment/newborn.go", "!errors.Is(err, fs.ErrNotExist) {\n		return nil, errors.Join(fmt", "false {\n		return nil, errors.Join(fmt", segmentPkg, "TestPublishNeverReplaces"},
	{"durable-ignored", "segment/recover.go", "return h.Durable > p", "return false", segmentPkg, "TestRecover"},
	{"marks-not-judged", "segment/recover.go", "if damagedMark(b[:n], e.Mark(), s.salt, p) {", "if n < 0 {", segmentPkg, "TestMarkFlips"},
	{"torn-mark-is-damage", "segment/mark.go", "		if tornMark(b, mark, at) {", "		if false {", segmentPkg, "TestTornMark"},
	{"tail-not-looked-at", "segment/recover.go", "				if buf[i] != 0 {", "				if buf[i] == 1 {", segmentPkg, "TestRecover"},
	{"body-not-checked", "segment/scanner.go", "	if p := f.checkBody(); p != nil {", "	if p := f.checkBody(); p != nil && false {", segmentPkg, "TestRecover"},
	{"padding-not-checked", "segment/frame.go", "			if c != 0 {", "			if c == 255 {", segmentPkg, "TestPaddingFlips"},
	{"salt-ignored", "segment/frame.go", "	binary.LittleEndian.PutUint64(x[40:], salt)\n", "	_ = salt\n", logPkg, "TestGolden"},
	{"place-ignored", "segment/frame.go", "	binary.LittleEndian.PutUint64(x[48:], uint64(at))\n", "	_ = at\n", segmentPkg, "TestRecover"},
	{"recovered-not-rewritten", "log/open.go", "info.RewrittenBytes, err = seg.Rewrite(end.Durable, end.Byte)", "info.RewrittenBytes, err = 0, nil", harnessPkg, "TestT5"},
	{"append-behind-torn", "log/open.go", "	if end.Torn > 0 {\n", "	if end.Torn > 1<<40 {\n", harnessPkg, "TestT2"},
	{"predecessor-not-checked", "log/open.go", "	if head.Predecessor.Name != before.name {", "	if false {", logPkg, "TestBadSegments"},
	{"successor-not-missed", "log/open.go", "end.Last == segment.Sealing {", "end.Last == segment.Sealing && false {", logPkg, "TestBadSegments"},
	{"no-sealing-mark", "log/roll.go", "errors.Join(old.seg.Write(mark, end), old.seg.Sync())", "errors.Join(old.seg.Write(mark[:0], end), old.seg.Sync())", logPkg, "TestBadSegments"},
	{"roll-without-sync", "log/roll.go", "	if err := l.syncWritten(); err != nil {", "	if err := error(nil); err != nil {", harnessPkg, "TestT1$"},
	{"idle-mark-without-sync", "log/scribe.go", "	err := l.syncWritten()\n	l.takePen()\n	defer l.passPen()\n	if err != nil {\n		_ = l.fail(err, nil)\n		return false\n	}\n	if l.unsynced() {\n", "	err := error(nil)\n	l.takePen()\n	defer l.passPen()\n	if err != nil {\n		_ = l.fail(err, nil)\n		return false\n	}\n	if false {\n", harnessPkg, "TestT1$"},
	{"readers-see-unsynced", "log/cursor.go", "	return c.l.synced\n", "	return c.l.written\n", logPkg, "TestCancelled"},
	{"room-not-claimed", "log/room.go", "		err := seg.Preallocate(claimed, to-claimed)\n", "		err := error(nil)\n", logPkg, "TestNoSpace"},
	{"room-not-kept", "log/room.go", "	if !freeing {\n", "	if true {\n", logPkg, "TestNoSpace"},
	{"lock-by-string", "log/lock.go", "os.SameFile(info, other) {", "os.SameFile(info, other) && false {", logPkg, "TestSecondWriter"},
	{"offset-not-expected", "log/condition.go", "p.next != want {", "false {", logPkg, "Expect"},
	{"unknown-not-said", "log/sequence.go", "			return &UnknownError{Cause: context.Cause(ctx)}\n		}\n	}\n", "			return nil\n		}\n	}\n", logPkg, "TestCancelled"},
	{"gate-removed", "log/gate.go", "	if f.table {\n", "	if false {\n", logPkg, "TestGateSyncsTheLogFirst"},
	{"checkpoint-ahead-of-batch", "log/state.go", "	b, err := s.batch(vs, c.encode())\n", "	c.position++\n	b, err := s.batch(vs, c.encode())\n", harnessPkg, "TestT1Views"},
	{"checkpoint-not-written", "log/state.go", "		if err := b.Set(append([]byte{checkpointKey}, v.name...), checkpoint, nil); err != nil {", "		if err := b.Set(append([]byte{checkpointKey}, v.name[1:]...), checkpoint, nil); err != nil {", logPkg, "TestView"},
	{"window-forgets", "log/condition.go", "		if e, ok := l.window.entries[windowKey{a.view, a.key}]; ok {", "		if e, ok := l.window.entries[windowKey{a.view, a.key}]; ok && false {", logPkg, "TestOnceConcurrently|TestConditionsOnOneKey"},
	{"window-trusted-too-long", "log/condition.go", "		if c.answers[i].applied < l.window.floor {", "		if c.answers[i].applied < l.window.floor && false {", logPkg, "TestReadBeforeTheWindow"},
	{"chain-ignored", "log/condition.go", "		if a.earlier > 0 {\n			a.value", "		if false {\n			a.value", logPkg, "TestConditionsOnOneKey"},
	{"fault-is-success", "log/mapped_tail.go", "			m.never = true\n			return false\n", "			m.never = true\n			return true\n", logPkg, "TestMappedTailCutShort"},
	{"zeros-over-frames", "log/mapped_tail.go", "zeros.zeroTo(seg, start, to)", "(&ahead{}).zeroTo(seg, m.from, to)", logPkg, "TestMappedTail$"},
	{"kept-index-no-witness", "log/open.go", "end.Byte < reach {", "end.Byte < reach && false {", logPkg, "TestKeptIndexIsWitness"},
	{"kept-index-trusted", "log/kept.go", "	if err == nil && !k.met {", "	if false {", logPkg, "TestKeptIndexIsWitness"},
	{"kept-index-without-topics", "log/kept.go", "	if err := l.foldKept(memory, seg, end.Byte); err != nil {", "	if err := error(nil); err != nil {", logPkg, "TestKeptEqualsWhole"},
	{"index-not-checked", "index/file.go", "	if want := b.sum() ^ f.salt; b.check() != want {", "	if want := b.sum() ^ f.salt; b.check() != want && false {", harnessPkg, "TestT6"},
	{"another-leaf-found", "index/leaves.go", "k != nil && k.id == id {", "k != nil {", "./index", "TestLeavesDisplaceEachOther"},
	{"known-type-passed-over", "aggregate/types.go", "errors.As(err, &unknown) && t.byName[unknown.Type] == nil\n", "errors.As(err, &unknown)\n", eventsPkg, "TestUnknownEvents"},
	{"version-not-expected", "aggregate/view.go", "!expected.holds(h.version) {", "false {", eventsPkg, "S13|TestAppendExpects"},
	{"version-not-remembered", "aggregate/view.go", "		return h.appended(h.version + uint64(binary.BigEndian.Uint32(c.Want[8:]))).encode()\n", "		return value\n", eventsPkg, "S13|TestManyWriters"},
	{"command-twice", "aggregate/append.go", "		c.Require(log.Once(s.onceKey(b.CommandID)))\n", "		_ = log.Once\n", eventsPkg, "TestCommandHappensOnce"},
	{"truncation-forgotten", "aggregate/view.go", "			now = h.truncated(binary.BigEndian.Uint64(rec.Value[1:]))\n", "			now = h\n", eventsPkg, "TestTruncate"},
	{"unsynced-events-loaded", "aggregate/load.go", "if synced && p.Next() < offset+int64(count)", "if synced = false; synced && p.Next() < offset+int64(count)", eventsPkg, "TestLoadWaitsForSync"},
	{"snapshot-trusted", "aggregate/snapshot.go", "	if !same {", "	if !same && false {", eventsPkg, "S26"},
	{"gap-not-seen", "aggregate/load.go", "	if next <= end {", "	if false {", eventsPkg, "TestGap"},
	{"model-checkpoint-apart", "projection/tx.go", "	return b.Set(numbered(checkpointKey, t.b.Number), encodeCheckpoint(c.To), nil)\n", "	return nil\n", modelsPkg, "TestCatchUp"},
	{"model-half-commit", "projection/running.go", "		if rec.Position >= r.done.Position { //", "		if true { //", modelsPkg, "TestCatchUp|TestPoisonStops"},
	{"model-failed-event-kept", "projection/running.go", "		r.rollback()\n		if ctx.Err() != nil {", "		if ctx.Err() != nil {", modelsPkg, "TestPoisonSkips"},
	{"model-effects-again", "projection/projection.go", "			r.fx.before = active.Checkpoint.Position\n", "			r.fx.before = 0\n", modelsPkg, "TestEffects"},
	{"model-switch-not-stored", "projection/pebble.go", "		return batch.Set(append([]byte{nameKey}, name...), binary.BigEndian.AppendUint64(nil, b.Number), nil)\n", "		return nil\n", modelsPkg, "TestCatchUp"},
	{"model-old-kept", "projection/pebble.go", "			errs = append(errs, batch.DeleteRange(p, behind(p), nil))\n", "			_ = p\n", modelsPkg, "TestRebuildBesideTheOld"},
	{"model-waits-for-less", "projection/life.go", "	case f.ready && f.progress.ActivePosition >= position:", "	case f.ready:", modelsPkg, "TestWaitForByMany"},
	{"model-not-fenced", "projection/tx.go", "*at != c.From {", "false {", modelsPkg, "TestFenced"},
	{"model-parked-again", "projection/poison.go", "	c.Require(log.Once(fmt.Sprintf(", "	_ = log.Once((fmt.Sprintf(", modelsPkg, "S18"},
	{"model-clock-not-moved", "projection/projectiontest/replay.go", "			time.Sleep(apart)\n", "			_ = apart\n", modelsPkg, "S16"},
	{"model-order-not-checked", "projection/tx.go", "twice := t.tx.layer[key]; twice {", "twice := t.tx.layer[key]; twice && false {", modelsPkg, "TestParallel"},
	{"model-of-another-log", "projection/projection.go", "		if err := p.l.CheckAhead(b.Checkpoint); err != nil {", "		if err := error(nil); err != nil {", modelsPkg, "TestStateAhead"},
	{"deleted-topic-appended", "log/topic.go", "	if p.topic.deleted.Load() {", "	if false {", logPkg, "TestDeletedTopic"},
}
