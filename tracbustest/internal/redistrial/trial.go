// Package redistrial tries out a Redis in the way that publishers and subscribers use it, under
// names of its own, and takes away what it put there.
package redistrial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/publish"
	"github.com/tracbus/tracbus/internal/redisconn"
)

// Trial is a Redis, and the names under which it is tried.
type Trial struct {
	Client redis.UniversalClient
	Prefix string // of channels
	Stream string // key of a stream
	ID     string // of the trial
}

// Messages is how many are published at once.
const Messages = 200

// patience is how long a message may take on a busy machine.
const patience = 15 * time.Second

// quiet is a logger that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// event is a change that says which one it is.
func event(n int) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Author: "tracbustest", Comment: fmt.Sprint("message ", n)}, ID: int64(1 + n%5),
		New: tracbus.Fields{"text": "ünïcödé, 日本語, 🎫 ' \" \\ \r\n"}, Old: tracbus.Fields{"text": nil},
	}
}

// PublishAndSubscribe publishes as under the scopes Primary and Everywhere.
func (t Trial) PublishAndSubscribe(ctx context.Context) error {
	ear, err := t.listen(ctx, t.Client)
	if err != nil {
		return err
	}
	defer ear.stop()
	voice := t.speak(t.Client)
	err = voice.say(ctx, 0, Messages)
	if err == nil {
		err = ear.hears(ctx, 0, Messages)
	}
	return errors.Join(voice.explained(err), voice.end(ctx))
}

// voice is a bus with a publisher.
type voice struct {
	bus       *tracbus.Bus
	publisher *tracbus.Publisher
}

func (t Trial) speak(client redis.UniversalClient) voice {
	v := voice{
		bus:       tracbus.BusConfig{Logger: quiet()}.NewBus("tracbustest"),
		publisher: tracbus.NewPublisher(client, tracbus.PublisherConfig{Prefix: t.Prefix, Logger: quiet()}),
	}
	v.bus.All(tracbus.Everywhere, v.publisher)
	return v
}

// say publishes messages, and returns when Redis has them.
func (v voice) say(ctx context.Context, from, to int) error {
	for n := from; n < to; n++ {
		if err := v.bus.Notify(event(n)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := v.bus.Wait(ctx); err != nil {
		return err
	}
	if st := v.publisher.Stats(); st.Rejected > 0 {
		return fmt.Errorf("%d messages were rejected", st.Rejected)
	}
	return nil
}

// explained adds what the publisher knows of a failure.
func (v voice) explained(err error) error {
	if st := v.publisher.Stats(); err != nil && st.LastError != nil {
		return fmt.Errorf("%w; the publisher says: %w", err, st.LastError)
	}
	return err
}

func (v voice) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return v.bus.Close(ctx)
}

// ear is a subscriber in a goroutine of its own.
type ear struct {
	cancel context.CancelFunc
	steps  chan step
	ended  chan struct{}
}

type step struct {
	event tracbus.Event
	err   error
}

// listen returns when the subscription exists.
func (t Trial) listen(ctx context.Context, client redis.UniversalClient) (*ear, error) {
	ctx, cancel := context.WithCancel(ctx)
	e := &ear{cancel, make(chan step, 10*Messages), make(chan struct{})}
	subscriber := tracbus.NewSubscriber(client, tracbus.SubscriberConfig{Prefix: t.Prefix})
	go func() {
		defer close(e.ended)
		for event, err := range subscriber.Events(ctx) {
			select {
			case e.steps <- step{event, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := e.resync(ctx, tracbus.ResyncSubscribed); err != nil {
		e.stop()
		return nil, fmt.Errorf("subscribe to %s.*: %w", t.Prefix, err)
	}
	return e, nil
}

func (e *ear) stop() {
	e.cancel()
	<-e.ended
}

// next returns the next step, or says that none has come.
func (e *ear) next(ctx context.Context) (step, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s := <-e.steps:
		return s, nil
	case <-ctx.Done():
		return step{}, ctx.Err()
	case <-timer.C:
		return step{}, fmt.Errorf("nothing came within %v", patience)
	}
}

// resync waits for a Resync, and passes over what says that the connection was lost. What a
// subscriber cannot watch is no failure.
func (e *ear) resync(ctx context.Context, reason tracbus.ResyncReason) error {
	var said error
	for {
		s, err := e.next(ctx)
		if err != nil {
			return errors.Join(err, said)
		}
		if r, ok := s.event.(tracbus.Resync); ok && r.Reason == reason {
			return nil
		}
		if s.err != nil {
			said = s.err
		}
		if redisconn.IsReply(s.err, "NOPERM") { // it stays so
			return said
		}
	}
}

// hears waits for messages, each once and in their order.
func (e *ear) hears(ctx context.Context, from, to int) error {
	for n := from; n < to; {
		s, err := e.next(ctx)
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", n, to, err)
		}
		switch got := s.event.(type) {
		case tracbus.TicketChanged:
			if want := event(n); got.Comment != want.Comment || got.New["text"] != want.New["text"] || got.ID != want.ID {
				return fmt.Errorf("message %d of %d came as %q of %s, with the text %q", n, to, got.Comment, got.Resource(), got.New["text"])
			}
			n++
		case tracbus.Resync:
			return fmt.Errorf("message %d of %d: a Resync came, with the reason %q", n, to, got.Reason)
		case nil:
			if decode := (*tracbus.DecodeError)(nil); errors.As(s.err, &decode) || errors.Is(s.err, tracbus.ErrDisconnected) {
				return fmt.Errorf("message %d of %d: %w", n, to, s.err)
			}
		}
	}
	return nil
}

// Free says why the stream's key is not free: it would be deleted in the end.
func (t Trial) Free(ctx context.Context) error {
	err := t.Client.XInfoStream(ctx, t.Stream).Err()
	if redisconn.IsReply(err, "ERR no such key") {
		return nil
	}
	if err == nil || redisconn.IsReply(err, "WRONGTYPE") {
		return fmt.Errorf("the key %s exists", t.Stream)
	}
	return fmt.Errorf("XINFO STREAM %s: %w", t.Stream, err)
}

// Clean takes away the keys that a trial makes.
func (t Trial) Clean(ctx context.Context) error {
	for _, key := range []string{t.state(), t.Stream} { // one by one: they need not be in one slot
		if err := t.Client.Del(ctx, key).Err(); err != nil {
			return fmt.Errorf("DEL %s: %w", key, err)
		}
	}
	return nil
}

// state is the key under which Redis keeps how far a consumer of the trial's has come.
func (t Trial) state() string {
	_, cluster := t.Client.(*redis.ClusterClient)
	return publish.StateKey(t.Stream, cluster, t.ID, "tracbustest")
}
