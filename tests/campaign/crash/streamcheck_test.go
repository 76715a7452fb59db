package crash_test

import (
	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// streamCheck goes along the entries of the stream.
type streamCheck struct {
	*verdict
	who    string
	reader bool // it is what a subscriber received, else what Redis has

	newest streamID
	last   *change // nil before the first
	gap    *note   // a Resync that admits one, until the next entry
	missed map[*change]bool
	seen   map[*change]map[int64]bool // the branches
	died   int64                      // the newest branch that has what is no more; -1 for none
}

// checkStream: every committed change is there exactly once, in order. Where
// Redis was emptied, the stream begins anew, and its subscriber is told so; what
// is behind the copy to which a database was put back comes after a new branch
// has begun.
func (v *verdict) checkStream(who string, lines []note, reader bool) {
	if lines == nil {
		return
	}
	s := &streamCheck{verdict: v, who: who, reader: reader, missed: map[*change]bool{}, seen: map[*change]map[int64]bool{}, died: -1}
	for _, l := range lines {
		switch {
		case l.Word == entryWord:
			s.entry(l)
		case l.Word == resyncWord && (l.Result == string(tracbus.ResyncStreamReset) || l.Result == string(tracbus.ResyncStreamTrimmed)):
			if s.gap = &l; s.last != nil { // else a first call that did not arrive was taken for a lost one
				v.checkAside(l)
			}
		default:
			v.checkAside(l)
		}
	}
	for _, c := range v.now {
		if s.seen[c] == nil && !s.missed[c] {
			v.add(isLost, "%s has not %v, %s by %s", who, c.Place, c.Resource, c.By)
		}
	}
}

func (s *streamCheck) entry(l note) {
	id, err := readStreamID(l.ID)
	if err != nil {
		s.add(isContent, "%s has an entry with id %q", s.who, l.ID)
		return
	}
	message, err := readMessage(l.Channel, l.Payload)
	message.Word, message.Place, message.Mark = l.Word, record.Place{TID: id.tid, Seq: id.seq}, l.Mark
	if err != nil {
		s.add(isContent, "%s has at %s a message that is none: %v", s.who, l.ID, err)
		return
	}
	if s.reader && (l.Place != message.Place || l.By != message.By || l.Resource != message.Resource ||
		l.Kind != message.Kind || !record.SameState(l.Old, message.Old) || !record.SameState(l.New, message.New)) {
		s.add(isContent, "%s has at %s an event that is not its message: %v %s %s", s.who, l.ID, l.Place, l.Resource, l.Kind)
	}
	c := s.find(s.who, message)
	if c == nil {
		return
	}
	branches := s.seen[c]
	switch {
	case branches[id.branch]:
		s.add(isTwice, "%s has %v, %s, twice in branch %d", s.who, c.Place, c.Resource, id.branch)
	case len(branches) > 0 && s.redis == redisEmptied:
		s.repeated++
	case len(branches) > 0 && !(s.gone != nil && c.side == both):
		s.add(isTwice, "%s has %v, %s, again in branch %d", s.who, c.Place, c.Resource, id.branch)
	}
	if s.last != nil && !id.after(s.newest) && !branches[id.branch] {
		s.add(isLate, "%s has %v, %s, after %v", s.who, c.Place, c.Resource, s.last.Place)
	}
	switch {
	case c.side == live && id.branch <= s.died:
		s.add(isLate, "%s has %v, %s, in branch %d, which has what is no more", s.who, c.Place, c.Resource, id.branch)
	case c.side == dead:
		s.died, s.ahead = max(s.died, id.branch), s.ahead || !s.reader
	}
	if branches == nil {
		branches = map[int64]bool{}
		s.seen[c] = branches
	}
	branches[id.branch] = true
	s.admit(c)
	s.newest, s.last, s.gap = id, c, nil
}

// admit takes the changes that were missed because Redis was emptied from those
// that must be there: the stream begins anew, its subscriber was told.
func (s *streamCheck) admit(c *change) {
	from := 0
	switch {
	case s.redis != redisEmptied, s.last == nil && s.reader, s.last != nil && s.gap == nil:
		return
	case s.last != nil:
		from = s.last.at + 1
	}
	for at := from; at < c.at; at++ {
		missed := s.now[at]
		if s.gap != nil && s.gap.UpTo != 0 && (missed.TID < s.gap.Behind || missed.TID > s.gap.UpTo) {
			s.add(isResync, "%s was told of changes missed behind tid %d up to %d, and missed %v", s.who, s.gap.Behind, s.gap.UpTo, missed.Place)
		}
		s.missed[missed] = true
	}
}
