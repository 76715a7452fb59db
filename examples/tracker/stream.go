package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/tracbus/tracbus"
)

const (
	mostStreams = 1000             // at a time
	mostCrowd   = 64               // of them from one address
	mostSite    = 256              // of them from one site of IPv6, which has many addresses
	mostMissed  = 5000             // changes; who missed more loads the page anew
	mostAsked   = timelineLines    // the same for those who are not signed in
	replayed    = 256              // changes that are read from the journal at a time
	heartbeat   = 15 * time.Second // of a stream on which nothing happens
	slowest     = 10 * time.Second // that a browser may take for what it is sent
)

// errTooMany says that a browser missed more than it should be sent.
var errTooMany = errors.New("it missed too many changes")

// streamChanges sends a browser every change behind the place that it has come
// to, as server-sent events whose ids are places. When it reconnects, to whatever
// process, it goes on there: nothing is left out, nothing comes twice. Where that
// cannot be, the event "resync" tells it to load anew.
func (s *site) streamChanges(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		http.Error(w, "expected GET", http.StatusMethodNotAllowed)
		return
	}
	// FormValue would read a whole form of several parts, and keep it as long as the stream.
	at, ok := parsePlace(cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after")))
	if !ok {
		http.Error(w, "after: expected a place, as in 17.0.a1b2", http.StatusBadRequest)
		return
	}
	leave, ok := s.watching.enter(s.addressOf(r))
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many browsers watch", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // asks proxies to pass on at once what comes
	st := &stream{site: s, w: w, out: http.NewResponseController(w), at: at, most: s.mostMissed(ctx, r)}
	err := st.run(ctx)
	if err != nil && ctx.Err() == nil && !errors.Is(err, errSend) {
		slog.Warn("a stream of changes ends; the browser will come again", "at", st.at, "err", err)
	}
}

// stream is one browser that watches.
type stream struct {
	*site
	w   http.ResponseWriter
	out *http.ResponseController
	at  place // what the browser was sent

	most int // changes that it is sent when it has missed some
}

// mostMissed is how many changes a browser is sent that has missed some.
func (s *site) mostMissed(ctx context.Context, r *http.Request) int {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return mostAsked
	}
	if name, err := s.signedIn(ctx, cookie.Value); err != nil || name == "" {
		return mostAsked // it may load anew
	}
	return mostMissed
}

// run sends what the browser missed and then what happens, until ctx ends.
func (st *stream) run(ctx context.Context) error {
	if err := st.send([]byte("retry: 1000\n\n")); err != nil {
		return err
	}
	idle := time.NewTicker(heartbeat)
	defer idle.Stop()
	known := -1 // resyncs; at first, what the browser says is held against the journal
	for {
		// Take the signal first: what comes after it wakes the loop again.
		lines, complete, changed, resyncs := st.timeline.behind(st.at)
		var err error
		if complete && resyncs == known {
			err = st.sendLines(lines)
		} else {
			err = st.catchUp(ctx)
			known = resyncs
		}
		if err != nil && !errors.Is(err, errSend) && ctx.Err() == nil {
			slog.Info("a browser loads anew what it cannot be sent", "at", st.at, "err", err)
			err = st.resync(ctx)
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-idle.C:
			if err := st.send([]byte(":\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// catchUp sends what the journal has behind the place, if that is still the
// history in which it was seen.
func (st *stream) catchUp(ctx context.Context) error {
	for missed := 0; ; {
		lines, err := st.read(ctx)
		if err != nil {
			return err
		}
		if missed += len(lines); missed > st.most {
			return errTooMany
		}
		if err := st.sendLines(lines); err != nil || len(lines) < replayed {
			return err
		}
	}
}

// read reads some of what the journal has behind the place. A few streams at a time do:
// however many there are, requests for pages need not wait for them. A slow browser holds
// up no other, because it is sent them after that.
func (st *stream) read(ctx context.Context) (lines []line, err error) {
	err = st.replaying.do(ctx, func() error {
		for e, err := range st.journal.Resume(ctx, tracbus.Change{TID: st.at.tid, Seq: st.at.seq, CommitID: st.at.mark}) {
			if err != nil {
				return err
			}
			message, err := changeMessage(e)
			if err != nil {
				return err
			}
			if lines = append(lines, line{placeOf(e.About()), message}); len(lines) == replayed {
				return nil
			}
		}
		return nil
	})
	return lines, err
}

// resync tells the browser to load anew, and goes on from the journal's end.
func (st *stream) resync(ctx context.Context) (err error) {
	if st.at, err = st.newest(ctx); err != nil {
		return err
	}
	return st.send(fmt.Appendf(nil, "id: %s\nevent: resync\ndata: load anew\n\n", st.at))
}

// newest returns the place of the last change, when this process knows of it.
func (s *site) newest(ctx context.Context) (place, error) {
	for e, err := range s.journal.Before(ctx, 0) {
		if err != nil {
			return place{}, err
		}
		at := placeOf(e.About())
		s.wait(ctx, at.tid)
		return at, nil
	}
	return place{}, nil
}

func (st *stream) sendLines(lines []line) error {
	if len(lines) == 0 {
		return nil
	}
	var all []byte
	for _, l := range lines {
		all = append(all, l.message...)
	}
	if err := st.send(all); err != nil {
		return err
	}
	st.at = lines[len(lines)-1].place
	return nil
}

// errSend says that the browser is gone, or does not take what it is sent.
var errSend = errors.New("send")

func (st *stream) send(text []byte) error {
	err := st.out.SetWriteDeadline(time.Now().Add(slowest))
	if err == nil {
		_, err = st.w.Write(text)
	}
	if err == nil {
		err = st.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errSend, err)
	}
	return nil
}

// changeMessage returns the server-sent event that tells a change: its data is an
// item of the timeline's list.
func changeMessage(e tracbus.Event) ([]byte, error) {
	var item bytes.Buffer
	if err := views.ExecuteTemplate(&item, "change", changeOf(e)); err != nil {
		return nil, fmt.Errorf("show %s: %w", e.Resource(), err)
	}
	message := fmt.Appendf(nil, "id: %s\nevent: change\n", placeOf(e.About()))
	text := bytes.ReplaceAll(bytes.TrimSpace(item.Bytes()), []byte("\r"), []byte(" ")) // which would end a line here
	for l := range bytes.SplitSeq(text, []byte("\n")) {
		message = fmt.Appendf(message, "data: %s\n", l)
	}
	return append(message, '\n'), nil
}
