package stream

import "time"

// place is how far a loop has come.
type place struct {
	id     ID     // of the entry that was read last
	linked ID     // what the next entry may also name as the one before it, instead of id
	commit string // of the entry with the id; empty if it is not known
}

// after is the highest tid that was surely read.
func (p place) after() int64 { return min(p.id.tid(), p.linked.tid()) }

// A loop is in one of three states:
//
//	finding    it does not know its place yet, or not any more
//	following  it reads the entries after its place
//	fallen     the stream ends before its place: it lost its last entries
//
// It begins with finding if it is to read from one of the stream's ends, else
// with following. These are all the ways from one state to another:
//
//	finding → following   start found the place, and yields the gap
//	following → fallen    look: the stream ends before the place
//	fallen → following    look: the stream has the place again, or goes beyond it
//	fallen → following    restart: Config.Refill is over, or the stream was filled
//	                      with something else. The loop goes back to where the
//	                      stream ended, and yields the gap
//	fallen → finding      restart, if the stream ended in another generation
//	following → finding   restart: the stream has something else at the place, or
//	                      the entry after it is of another history
type state interface{ isState() }

type (
	finding struct {
		reason Reason // of the gap that is yielded at the place
		oldest bool   // the place is before the oldest entry, else after the newest
	}
	following struct {
		first bool // the next entry is the oldest: the gap before it was yielded already
	}
	fallen struct {
		lowest ID            // the stream's lowest end since then
		waited time.Duration // for the stream to be filled again, while connected
	}
)

func (finding) isState()   {}
func (following) isState() {}
func (fallen) isState()    {}

// beginning is where a loop begins.
type beginning struct {
	place place
	state state
}

// beginAfter reads what the caller says.
func beginAfter(after string) (beginning, error) {
	if after == "" || after == "0" {
		return beginning{state: finding{reason: Begun, oldest: after == "0"}}, nil
	}
	id, err := ParseID(after)
	return beginning{place{id: id, linked: id}, following{}}, err
}

// resumeAt returns the place as the caller may give it to another loop.
func (l *loop) resumeAt() string {
	switch s, finds := l.state.(finding); {
	case !finds:
		return l.place.id.String()
	case s.oldest:
		return "0"
	}
	return ""
}

// look finds out whether the stream still has what was read last, and changes
// the state accordingly.
func (l *loop) look(r *reader) error {
	found, commit, err := l.find(r)
	if err != nil || l.place.id == (ID{}) {
		return err
	}
	last := l.place.id
	if !found {
		id, err := r.last()
		if err != nil {
			return err
		}
		if last, err = ParseID(id); err != nil {
			return err
		}
	}
	switch {
	case last.compare(l.place.id) < 0:
		l.fall(last)
	case found && l.place.commit != "" && commit != l.place.commit:
		l.restart()
	default:
		l.state = following{}
		if found {
			l.place.commit = commit
		}
	}
	return nil
}

// find looks for the entry that was read last.
func (l *loop) find(r *reader) (found bool, commit string, err error) {
	if l.place.id == (ID{}) {
		return false, "", nil
	}
	if l.place.id == l.unreadable {
		return true, "", nil
	}
	entries, err := r.read(l.place.id.previous(), 1, 0)
	if err != nil || len(entries) == 0 || entries[0].ID != l.place.id.String() {
		return false, "", err
	}
	return true, commitOf(entries[0].Values), nil
}

// fall notes that the stream ends before the place. It gives the stream up if
// that has lasted too long.
func (l *loop) fall(last ID) {
	s, fell := l.state.(fallen)
	if !fell || last.compare(s.lowest) < 0 {
		s.lowest = last
	}
	l.state = s
	if s.waited >= l.config.Refill {
		l.restart()
	}
}

// restart goes back to where the stream is not what it was: to where it ended, if
// that was seen, else to its oldest entry.
func (l *loop) restart() {
	s, fell := l.state.(fallen)
	if !fell || s.lowest.generation() != l.place.id.generation() {
		l.state = finding{reason: Reset, oldest: true}
		return
	}
	after := l.place.after()
	l.place.id, l.place.commit = s.lowest, ""
	l.state = following{}
	l.gap(l.place.id.String(), Gap{Reason: Reset, After: after})
}
