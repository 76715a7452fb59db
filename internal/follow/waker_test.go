package follow

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus/internal/limit"
)

// script is a waker that yields what is written, a line for each time that it is asked to
// hear; then it hears nothing.
type script struct {
	lines  [][]any
	called []string
}

func (s *script) Call(_ context.Context, channel, text string) error {
	s.called = append(s.called, channel+" "+text)
	return errors.New("lost")
}

func (s *script) Hear(ctx context.Context, channel string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if len(s.lines) == 0 {
			<-ctx.Done()
			return
		}
		line := s.lines[0]
		s.lines = s.lines[1:]
		for _, what := range line {
			text, _ := what.(string)
			err, _ := what.(error)
			if !yield(text, err) {
				return
			}
		}
	}
}

// TestWakeBy: calls of others wake, own ones do not; when the way is lost, it is sought
// again after a pause, which grows until the way is there.
func TestWakeBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("lost")
		s := &script{lines: [][]any{{"", "me", "you", "me", lost}, {lost}, {lost}, {"", lost}, {"", "you"}}}
		w := WakeBy(s, "channel", "me", time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var all []Heard
		var at []time.Duration
		go func() {
			for h := range w.Hear(ctx) {
				all, at = append(all, h), append(at, time.Since(began)/time.Millisecond)
			}
		}()
		<-time.After(time.Minute)
		cancel()
		synctest.Wait()
		bad := Heard{Err: lost}
		assert.Equal(t, []Heard{{}, {Call: true}, bad, bad, bad, {}, bad, {}, {Call: true}}, all)
		assert.Equal(t, []time.Duration{0, 0, 0, 100, 300, 700, 700, 800, 800}, at)
		_, err := w.Call(t.Context())
		assert.ErrorContains(t, err, "lost")
		assert.Equal(t, []string{"channel me"}, s.called)
	})
}

// deaf is a waker whose calls get no answer.
type deaf struct{ script }

func (*deaf) Call(ctx context.Context, _, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestWakeByNobody: a call that gets no answer has an end, which says so.
func TestWakeByNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := WakeBy(&deaf{}, "channel", "me", time.Second)
		began := time.Now()
		_, err := w.Call(t.Context())
		assert.Equal(t, time.Second, time.Since(began))
		assert.ErrorIs(t, err, limit.ErrNoAnswer)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = w.Call(ctx)
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, limit.ErrNoAnswer)
	})
}
