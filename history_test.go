package tracbus_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// A note is a message as a test knows it again: the n-th that was notified, and
// which version of which ticket it tells of.
type note struct{ n, ticket, version int }

// A history is what happened to a publisher, seen from outside: what it was
// told, what it handed to the Redis client in each round trip, what a
// subscriber received that was connected to the server directly, and what the
// publisher says of itself.
type history struct {
	notified []note
	sent     [][]int // the n of each message, by round trip
	received []note
	stats    tracbus.PublisherStats

	// deaf: the subscriber was cut off at times, so that gaps are no fault.
	deaf bool
}

// faults returns everything that contradicts the guarantees.
func (h history) faults() []string {
	var f testkit.Findings
	h.checkVersions(&f)
	h.checkRuns(&f)
	h.checkSent(&f)
	h.checkArrival(&f)
	h.checkNumbers(&f)
	return f
}

// lost returns how many acknowledged messages the subscriber missed.
func (h history) lost() int {
	seen := map[int]bool{}
	for _, r := range h.received {
		seen[r.n] = true
	}
	return int(h.stats.Published) - len(seen)
}

// checkVersions: of one ticket, no version is seen for the first time after a
// later one.
func (h history) checkVersions(f *testkit.Findings) {
	newest := map[int]int{}
	seen := map[note]bool{}
	for i, r := range h.received {
		if r.n < 0 || r.n >= len(h.notified) || h.notified[r.n] != r {
			f.Add("invented: received[%d] = %+v was never notified", i, r)
		}
		if !seen[r] && r.version < newest[r.ticket] {
			f.Add("order: received[%d]: ticket %d version %d after version %d", i, r.ticket, r.version, newest[r.ticket])
		}
		seen[r] = true
		newest[r.ticket] = max(newest[r.ticket], r.version)
	}
}

// checkRuns: whoever steps back, goes on from there without a leap. "1 2 1 2 3"
// is a repetition; "1 2 3 1 4" and "1 2 3 1 3" are late arrivals.
func (h history) checkRuns(f *testkit.Findings) {
	if h.deaf {
		return
	}
	place := map[int]int{} // of each n among the first arrivals
	before := -1
	for i, r := range h.received {
		p, repeated := place[r.n]
		if !repeated {
			p = len(place)
			place[r.n] = p
		}
		if p > before+1 {
			f.Add("late: received[%d] = message %d, after a step back that did not go on to it", i, r.n)
		}
		before = p
	}
}

// checkSent: each round trip begins within the one before it or right behind it,
// or behind all: what it repeats is what was not answered, before anything new.
func (h history) checkSent(f *testkit.Findings) {
	newest := -1
	for i, s := range h.sent {
		if !slices.IsSorted(s) || len(slices.Compact(slices.Clone(s))) != len(s) {
			f.Add("sent[%d] is not in order: %v", i, s)
		}
		if s[0] <= newest && !slices.Contains(h.sent[i-1], s[0]) && s[0] != h.sent[i-1][len(h.sent[i-1])-1]+1 {
			f.Add("sent[%d] begins with message %d, which was not next after the round trip before", i, s[0])
		}
		newest = max(newest, s[len(s)-1])
	}
}

// checkArrival: what was received is the beginning of each round trip, one
// behind the other. Something of a round trip that comes after something of a
// later one has no place.
func (h history) checkArrival(f *testkit.Findings) {
	type place struct{ trip, next int } // received up to before next
	at := []place{{-1, 0}}
	for i, r := range h.received {
		found := map[place]bool{}
		for _, p := range at {
			if p.trip >= 0 {
				for next := p.next; next < len(h.sent[p.trip]) && (h.deaf || next == p.next); next++ {
					if h.sent[p.trip][next] == r.n {
						found[place{p.trip, next + 1}] = true
					}
				}
			}
			for trip := p.trip + 1; trip < len(h.sent); trip++ {
				s := h.sent[trip]
				if next, ok := slices.BinarySearch(s, r.n); ok && (h.deaf || next == 0) {
					found[place{trip, next + 1}] = true
				}
				if s[0] > r.n { // and so do all that follow
					break
				}
			}
		}
		if len(found) == 0 {
			f.Add("late: received[%d] = message %d belongs to no round trip from %v on", i, r.n, at)
			return
		}
		at = at[:0]
		for p := range found {
			at = append(at, p)
		}
	}
}

// checkNumbers: the publisher's figures are those of what happened.
func (h history) checkNumbers(f *testkit.Findings) {
	s := h.stats
	if sum := s.Published + s.Rejected + s.Dropped + s.Unacknowledged; sum != uint64(len(h.notified)) || s.Waiting != 0 {
		f.Add("sum: Published %d + Refused %d + Dropped %d + Unacknowledged %d = %d of %d notified, Waiting %d",
			s.Published, s.Rejected, s.Dropped, s.Unacknowledged, sum, len(h.notified), s.Waiting)
	}
	arrived := map[int]bool{}
	for _, r := range h.received {
		arrived[r.n] = true
	}
	if again := len(h.received) - len(arrived); uint64(again) > s.Resent {
		f.Add("repeated: %d messages came again, Repeated = %d", again, s.Resent)
	}
	sent, times := map[int]bool{}, 0
	for _, trip := range h.sent {
		for _, n := range trip {
			sent[n] = true
			times++
		}
	}
	if uint64(times-len(sent)) != s.Resent {
		f.Add("repeated: %d messages were sent again, Repeated = %d", times-len(sent), s.Resent)
	}
	if got, want := uint64(len(sent)), s.Published+s.Rejected+s.Unacknowledged; got != want {
		f.Add("dropped: %d messages were sent, Published + Refused + Unacknowledged = %d", got, want)
	}
	for n := range arrived {
		if !sent[n] {
			f.Add("dropped: message %d was received and never sent", n)
		}
	}
	missing := len(sent) - len(arrived) - int(s.Rejected)
	if !h.deaf && (missing < 0 || uint64(missing) > s.Unacknowledged || s.NoReceivers > 0) {
		f.Add("lost: %d messages of those sent were not received, Unacknowledged = %d, Unheard = %d", missing, s.Unacknowledged, s.NoReceivers)
	}
}

// TestHistoryChecker hands the checker histories that are wrong in one way each.
func TestHistoryChecker(t *testing.T) {
	const tickets = 2
	of := func(ns ...int) (notes []note) {
		for _, n := range ns {
			notes = append(notes, note{n, n % tickets, n / tickets})
		}
		return notes
	}
	six := of(0, 1, 2, 3, 4, 5)
	trips := [][]int{{0, 1, 2}, {0, 1, 2}, {3, 4}, {5}}
	stats := tracbus.PublisherStats{Published: 6, Resent: 3}
	for _, tc := range []struct {
		name string
		h    history
		want string // what the first fault begins with; empty for none
	}{
		{"nothing happened", history{}, ""},
		{"a repetition, before anything later",
			history{notified: six, sent: trips, received: of(0, 1, 0, 1, 2, 3, 4, 5), stats: stats}, ""},
		{"the whole round trip twice",
			history{notified: six, sent: trips, received: of(0, 1, 2, 0, 1, 2, 3, 4, 5), stats: stats}, ""},
		{"loss", history{notified: six, sent: trips, received: of(0, 1, 2, 3, 5), stats: stats}, "lost: 1"},
		{"loss at the end", history{notified: six, sent: trips, received: of(0, 1, 2, 3, 4), stats: stats}, "lost: 1"},
		{"loss of an unacknowledged one", history{notified: six, sent: trips, received: of(0, 1, 2, 3, 4),
			stats: tracbus.PublisherStats{Published: 5, Unacknowledged: 1, Resent: 3}}, ""},
		{"reorder", history{notified: six, sent: trips, received: of(0, 1, 2, 4, 3, 5), stats: stats}, "late: "},
		{"reorder in one ticket", history{notified: six, sent: trips, received: of(0, 1, 3, 2, 4, 5),
			stats: stats}, "late: "},
		{"version back", history{notified: six, sent: trips, received: of(2, 0), stats: stats}, "order: "},
		{"a duplicate that nobody sent", history{notified: six, sent: trips, received: of(0, 1, 2, 3, 4, 5, 5),
			stats: stats}, "late: "},
		{"one duplicate too many", history{notified: six, sent: trips, received: of(0, 1, 2, 0, 1, 2, 3, 4, 5),
			stats: tracbus.PublisherStats{Published: 6, Resent: 2}}, "repeated: "},
		{"late, in between", history{notified: six, sent: trips, received: of(0, 0, 1, 1, 2, 2, 3, 4, 5),
			stats: stats}, "late: "},
		{"late, after the repetition", history{notified: six, sent: trips, received: of(0, 1, 0, 1, 2, 2, 3, 4, 5),
			stats: stats}, "late: "},
		{"late, after later ones", history{notified: six, sent: trips, received: of(0, 1, 2, 3, 4, 2, 3, 4, 5),
			stats: stats}, "late: "},
		{"a sum that is not", history{notified: six, sent: trips, received: six,
			stats: tracbus.PublisherStats{Published: 5, Resent: 3}}, "sum: "},
		{"said to be dropped, but received", history{notified: six, sent: trips, received: six,
			stats: tracbus.PublisherStats{Published: 5, Dropped: 1, Resent: 3}}, "dropped: "},
		{"dropped, and said so", history{notified: six, sent: [][]int{{0, 1}, {4, 5}}, received: of(0, 1, 4, 5),
			stats: tracbus.PublisherStats{Published: 4, Dropped: 2}}, ""},
		{"sent out of turn", history{notified: six, sent: [][]int{{0, 1}, {2}, {0}}, received: of(0, 1, 2, 0),
			stats: tracbus.PublisherStats{Published: 3, Dropped: 3, Resent: 1}}, "sent[2] begins"},
		{"one by one after a repetition", history{notified: six, sent: [][]int{{0, 1, 2}, {0}, {1}, {2}, {3, 4, 5}},
			received: of(0, 1, 0, 1, 2, 3, 4, 5), stats: stats}, ""},
		{"one by one, but for one", history{notified: six, sent: [][]int{{0, 1, 2}, {0}, {2}, {3, 4, 5}},
			received: of(0, 1, 0, 2, 3, 4, 5), stats: tracbus.PublisherStats{Published: 6, Resent: 2}}, "sent[2] begins"},
		{"invented", history{notified: six, sent: trips, received: append(of(0), note{1, 7, 9}), stats: stats}, "invented: "},
		{"a deaf subscriber misses some", history{notified: six, sent: trips, received: of(0, 2, 4), stats: stats, deaf: true}, ""},
		{"a deaf subscriber hears late ones", history{notified: six, sent: trips, received: of(0, 3, 2), stats: stats, deaf: true}, "late: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faults := tc.h.faults()
			if tc.want == "" {
				assert.Empty(t, faults)
				return
			}
			for _, fault := range faults {
				if len(fault) >= len(tc.want) && fault[:len(tc.want)] == tc.want {
					return
				}
			}
			t.Errorf("faults of %v\n got %q\nwant one that begins with %q", tc.h.received, faults, tc.want)
		})
	}
}
