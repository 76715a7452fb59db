package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/tracbus/tracbus"
)

// place is where a change stands in the order of all. The mark tells it from
// another of the same tid, should the database be put back to an older state.
type place struct {
	tid  int64
	seq  int
	mark string
}

func placeOf(c tracbus.Change) place { return place{c.TID, c.Seq, c.CommitID} }

// String returns the place as browsers keep it: "17.0.a1b2".
func (p place) String() string { return fmt.Sprintf("%d.%d.%s", p.tid, p.seq, p.mark) }

// parsePlace reads what String returns. "" stands before all changes.
func parsePlace(text string) (p place, ok bool) {
	if text == "" {
		return place{}, true
	}
	tid, rest, _ := strings.Cut(text, ".")
	seq, mark, _ := strings.Cut(rest, ".")
	var err1, err2 error
	p.tid, err1 = strconv.ParseInt(tid, 10, 64)
	p.seq, err2 = strconv.Atoi(seq)
	p.mark = mark
	return p, err1 == nil && err2 == nil && p.seq >= 0 && (p.tid == 0 || p.tid > 0 && mark != "")
}

func (p place) before(q place) bool { return p.tid < q.tid || p.tid == q.tid && p.seq < q.seq }

// line is a change, and what a browser is sent of it.
type line struct {
	place
	message []byte
}

// timelineLines is how many changes a process has ready. A browser that is
// further behind is sent what it missed from the journal.
const timelineLines = 1000

// timeline keeps the last changes that this process was told of, those of other
// processes too: it is registered with the scope Everywhere. All streams to
// browsers read the same lines.
type timeline struct {
	mu      sync.Mutex
	lines   []line        // in order
	changed chan struct{} // closed when something is added
	resyncs int
}

func newTimeline() *timeline { return &timeline{changed: make(chan struct{})} }

// tell takes a change. A Resync says that some were missed: then the streams read
// the journal again.
func (t *timeline) tell(_ context.Context, e tracbus.Event) error {
	var message []byte
	var err error
	_, missed := e.(tracbus.Resync)
	if !missed {
		if message, err = changeMessage(e); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if missed {
		t.lines = nil
		t.resyncs++
	} else {
		if len(t.lines) == 2*timelineLines {
			t.lines = slices.Clone(t.lines[timelineLines:]) // streams may still read the old ones
		}
		t.lines = append(t.lines, line{placeOf(e.About()), message})
	}
	close(t.changed)
	t.changed = make(chan struct{})
	return nil
}

// behind returns the lines behind a place. complete is false where there may be
// others between: they are in the journal. changed is closed when there are more;
// resyncs counts how often changes were missed.
func (t *timeline) behind(p place) (lines []line, complete bool, changed <-chan struct{}, resyncs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearchFunc(t.lines, p, func(l line, p place) int {
		if p.before(l.place) {
			return 1
		}
		return -1
	})
	complete = len(t.lines) > 0 && !p.before(t.lines[0].place)
	return t.lines[i:len(t.lines):len(t.lines)], complete, t.changed, t.resyncs
}
