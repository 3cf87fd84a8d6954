package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/stratalog/strata/log"
	"github.com/stratalog/strata/record"
)

const (
	// sendAfter is how long the first record of a commit waits for others.
	sendAfter = 100 * time.Millisecond
	// inFlight bounds the commits that wait for their acknowledgement. They share writes and syncs.
	inFlight = 32
	// batchHeadBytes is more than what a commit takes beside its records, for each of its partitions.
	batchHeadBytes = 128
)

// appender turns lines into commits. While one commit is written and synced it collects the next.
type appender struct {
	app       *app
	topic     *log.Topic
	partition *log.Partition // to append to, or nil
	// stage adds a record to a commit in place of appending it; or nil.
	stage     func(*log.Commit, *log.Record) error
	batch     int // records a commit
	printAcks bool
	codec     *record.Codec // nil: the topic's
	format    lineFormat
	bar       *progress
	started   time.Time

	commit  *log.Commit
	records int   // of commit
	input   int64 // bytes of the input that commit took
	encoded int   // bytes of commit, at most
	line    int64 // the last one that was taken, from 1

	sent chan sentCommit
	// refused says that a commit was not taken. None is sent behind it, or there would be a hole.
	refused bool
	// failed is closed at the first error of a commit or of printing.
	failed chan struct{}
	acked  acked // of the goroutine that waits for acknowledgements, until it has ended
}

type sentCommit struct {
	ack     *log.Ack
	records int
	input   int64
}

// acked is what was acknowledged.
type acked struct {
	records, input int64
	err            error // the first one
}

// run appends what in brings until that ends, ctx ends, or something fails. It waits for everything
// that was sent.
func (p *appender) run(ctx context.Context, in *lines) error {
	p.sent, p.failed = make(chan sentCommit, inFlight), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.await()
	}()
	err := p.collect(ctx, in)
	in.stop()
	p.send(ctx)
	close(p.sent)
	<-done
	// What went wrong with a commit is told rather than that the input was left for it.
	if p.acked.err != nil {
		return p.acked.err
	}
	return err
}

// collect takes lines into commits and sends those that are full or due.
func (p *appender) collect(ctx context.Context, in *lines) error {
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		select {
		case b, more := <-in.blocks:
			if !more {
				return nil
			}
			begun := p.records > 0
			sent, err := p.take(ctx, b)
			if err != nil || b.err != nil {
				return errors.Join(err, ended(b.err, p.line+1))
			}
			if p.records > 0 && (sent || !begun) {
				due.Reset(sendAfter)
			}
			in.free <- b
		case <-due.C:
			p.send(ctx)
		case <-p.failed:
			return nil
		case <-ctx.Done():
			return errInterrupted
		}
	}
}

// take adds the lines of b, and reports whether a commit was sent meanwhile.
func (p *appender) take(ctx context.Context, b *block) (sent bool, err error) {
	var r log.Record
	for i := range b.ends {
		if err := p.format(b.line(i), &r); err != nil {
			return sent, &lineError{p.line + 1, err}
		}
		n := record.EncodedRecordBytes(&r)
		if n > maxRecordBytes {
			return sent, &lineError{p.line + 1, &log.LimitError{What: "record", Limit: maxRecordBytes, Got: int64(n)}}
		}
		p.line++
		if n += batchHeadBytes; p.encoded+n > maxCommitBytes {
			p.send(ctx)
			sent = true
		}
		if err := p.add(&r, n, b.inputBytes(i)); err != nil {
			return sent, &lineError{p.line, err}
		}
		if p.records == p.batch {
			p.send(ctx)
			sent = true
		}
	}
	return sent, nil
}

func (p *appender) add(r *log.Record, encoded int, input int64) error {
	switch {
	case p.stage != nil:
		if err := p.stage(p.commit, r); err != nil {
			return err
		}
	case p.partition != nil:
		p.commit.AppendTo(p.partition, *r)
	default:
		p.commit.Append(p.topic, *r)
	}
	p.records++
	p.encoded += encoded
	p.input += input
	return nil
}

// send sends the commit, if it has records and nothing has failed yet. The end of ctx does not take it
// back.
func (p *appender) send(ctx context.Context) {
	select {
	case <-p.failed:
		return
	default:
	}
	if p.records == 0 || p.refused {
		return
	}
	if p.codec != nil {
		p.commit.Compress(*p.codec)
	}
	ack := p.commit.CommitAsync(context.WithoutCancel(ctx))
	p.sent <- sentCommit{ack, p.records, p.input}
	select {
	case <-ack.Done(): // so soon only when it was refused, or promises nothing that takes time
		_, err := ack.Wait(context.Background())
		p.refused = err != nil
	default:
	}
	p.commit.Reset()
	p.records, p.input, p.encoded = 0, 0, 0
}

// await waits for the acknowledgements of commits in the order in which they were sent.
func (p *appender) await() {
	var text []byte
	for s := range p.sent {
		r, err := s.ack.Wait(context.Background())
		if err == nil {
			p.acked.records += int64(s.records)
			p.acked.input += s.input
			p.bar.add(s.input)
			if p.printAcks && p.acked.err == nil {
				text = text[:0]
				for i := range s.records {
					partition, offset, _ := r.Record(i)
					text = strconv.AppendInt(text, int64(partition), 10)
					text = append(text, ' ')
					text = strconv.AppendInt(text, offset, 10)
					text = append(text, '\n')
				}
				if _, err = p.app.out.Write(text); err == nil {
					err = p.app.out.Flush()
				}
			}
		}
		if err != nil && p.acked.err == nil {
			p.acked.err = err
			close(p.failed)
		}
	}
}

// summary tells what was acknowledged.
func (p *appender) summary() string {
	seconds := time.Since(p.started).Seconds()
	return fmt.Sprintf("%d records, %d bytes, %.3f s, %.0f records/s",
		p.acked.records, p.acked.input, seconds, float64(p.acked.records)/max(seconds, 1e-9))
}
