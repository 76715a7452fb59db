package redistrial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/publish/script"
)

// Script publishes as a publisher under Durable does, with a stream: two batches, and the
// first one again, and late. It reads the stream, and hears the messages.
func (t Trial) Script(ctx context.Context) error {
	ear, err := t.listen(ctx, t.Client)
	if err != nil {
		return err
	}
	defer ear.stop()
	sender := script.New(t.Client)
	defer sender.Close()
	first := script.Call{
		State: t.state(), Stream: t.Stream, Reset: true, Expected: script.Offset{Empty: true, Generation: -1},
		From: place(0), To: place(3), MaxLen: 1000,
	}
	second := script.Call{State: t.state(), Stream: t.Stream, From: place(3), To: place(5), MaxLen: 1000}
	for _, c := range []struct {
		what     string
		call     script.Call
		from, to int
		refused  bool
	}{
		{"the first batch", first, 0, 3, false},
		{"the first batch, again", first, 0, 3, true},
		{"the second batch", second, 3, 5, false},
		{"the second batch, late", second, 3, 5, true},
	} {
		reply, err := t.send(ctx, sender, c.call, c.from, c.to)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", c.what, err)
		case reply.Stopped != nil:
			return fmt.Errorf("%s: message %d: %w", c.what, reply.At, reply.Stopped)
		case c.refused && reply.Mismatch == nil:
			return fmt.Errorf("%s was published: the reply was %+v", c.what, reply)
		case !c.refused && (reply.Mismatch != nil || reply.OtherGeneration || reply.Published != c.to-c.from):
			return fmt.Errorf("%s was not published: the reply was %+v", c.what, reply)
		}
	}
	return errors.Join(ear.hears(ctx, 0, 5), t.readStream(ctx, 5))
}

// place is that of a transaction of the trial's: tid 0 is the beginning.
func place(tid int) script.Place {
	if tid == 0 {
		return script.Place{}
	}
	return script.Place{TID: int64(tid), CommitID: fmt.Sprint("commit ", tid)}
}

// send sends a batch; message n is the transaction n+1.
func (t Trial) send(ctx context.Context, sender *script.Sender, c script.Call, from, to int) (script.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var b script.Batch
	for n := from; n < to; n++ {
		e := event(n)
		channel, payload, err := tracbus.PublisherConfig{Prefix: t.Prefix}.Encode(e.WithChange(tracbus.Change{
			Env: "tracbustest", Author: e.Author, Comment: e.Comment, TID: int64(n + 1), CommitID: place(n + 1).CommitID,
		}))
		if err != nil {
			return script.Reply{}, err
		}
		b.Number(0) // seq
		for _, text := range []string{
			channel, payload,
			fmt.Sprintf("%d-0", n+1), fmt.Sprint(time.Now().UnixMicro()), e.Author, "", "0", e.Comment, "", "", "", "",
		} {
			b.Text(text)
		}
		b.End(place(n + 1))
	}
	return sender.Send(ctx, c, &b)
}

// readStream reads the stream from its beginning.
func (t Trial) readStream(ctx context.Context, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n := 0
	for entry, err := range tracbus.NewSubscriber(t.Client, tracbus.SubscriberConfig{Prefix: t.Prefix}).Stream(ctx, t.Stream, "0") {
		if err != nil {
			return fmt.Errorf("entry %d of the stream: %w", n, err)
		}
		switch got := entry.Event.(type) {
		case tracbus.TicketChanged:
			if want := event(n); got.Comment != want.Comment || got.TID != int64(n+1) || got.New["text"] != want.New["text"] {
				return fmt.Errorf("entry %d of the stream is %q, with tid %d", n, got.Comment, got.TID)
			}
			if n++; n == messages {
				return nil
			}
		case tracbus.Resync:
			if got.Reason != tracbus.ResyncSubscribed {
				return fmt.Errorf("entry %d of the stream: a Resync came, with the reason %q", n, got.Reason)
			}
		}
	}
	return fmt.Errorf("the stream has %d of %d entries: %w", n, messages, context.Cause(ctx))
}
