package log

import "time"

// turns is a goroutine of the log that does what is due each time that it is woken, or that its last turn has asked
// for. Its fields are set by start.
type turns struct {
	kick chan struct{} // has room for one
	stop chan struct{}
	done chan struct{}
}

// start starts the goroutine. turn does what is due and returns after how long to call it again, 0 for not before it
// is woken.
func (t *turns) start(l *Log, turn func() time.Duration) {
	t.kick, t.stop, t.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go t.run(l, turn)
}

// end stops the goroutine and waits for it.
func (t *turns) end() {
	close(t.stop)
	<-t.done
}

// wake has it take a turn soon.
func (t *turns) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *turns) run(l *Log, turn func() time.Duration) {
	defer close(t.done)
	timer := l.o.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-t.kick:
		case <-timer.C():
		}
		if next := turn(); next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}
