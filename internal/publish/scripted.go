package publish

import (
	"context"

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
	requests [2]request[E] // used alternately: one is prepared while the other is on its way
}

// send publishes a span. What it does if a call comes twice or late is said in
// package script.
func (s *scripted[E]) send(ctx context.Context, span consumer.Span, events []E) error {
	err := s.newTransfer(span, events).run(ctx)
	clear(s.requests[0].events)
	clear(s.requests[1].events)
	if err != nil {
		s.recorder.count(func(st *Stats) { st.LastError = err })
	}
	return err
}

// answered counts what became of a call.
func (s *scripted[E]) answered(reply script.Reply, err error) {
	s.recorder.count(func(st *Stats) {
		st.Published += uint64(reply.Published)
		st.NoReceivers += uint64(reply.NoReceivers)
	})
	if !isAway(err) {
		err = nil
	}
	s.recorder.here(err)
}
