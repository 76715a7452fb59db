package publish

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/consumer"
	"github.com/tracbus/tracbus/internal/publish/script"
)

// scripted publishes by the script, and makes one attempt. It is not for
// concurrent use.
type scripted[E any] struct {
	recorder *recorder
	codec    Codec[E]
	sender   *script.Sender
	config   Config
	cluster  bool
	longest  int           // bytes of a message
	requests [2]request[E] // used alternately: one is prepared while the other is on its way
}

// send publishes a span. What it does if a call comes twice or late is said in
// package script.
func (s *scripted[E]) send(ctx context.Context, span consumer.Span, events []E) error {
	err := s.newTransfer(span, events).run(ctx)
	clear(s.requests[0].events)
	clear(s.requests[1].events)
	if _, elsewhere := errors.AsType[*consumer.Mismatch](err); err != nil && !elsewhere { // the consumer finds the way
		s.recorder.count(func(st *Stats) { st.LastError = err })
	}
	return err
}

// answered counts what became of a call. One that was cut short because the process
// stops or the lease is over says nothing of Redis.
func (s *scripted[E]) answered(ctx context.Context, reply script.Reply, err error) {
	s.recorder.count(func(st *Stats) {
		st.Published += uint64(reply.Published)
		st.NoReceivers += uint64(reply.NoReceivers)
	})
	away, is := errors.AsType[*consumer.Away](err)
	switch {
	case is && errors.Is(ctx.Err(), context.Canceled):
	case is:
		s.recorder.here(away.Err)
	default:
		s.recorder.here(nil)
		s.recorder.watched(s.sender.Unwatched())
	}
}
