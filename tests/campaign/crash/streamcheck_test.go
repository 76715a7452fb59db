package tracbus_test

import "github.com/tracbus/tracbus"

// streamCheck goes along the entries of the stream.
type streamCheck struct {
	*crashVerdict
	who    string
	reader bool // it is what a subscriber received, else what Redis has

	newest crashID
	last   *crashChange // nil before the first
	gap    *crashLine   // a Resync that admits one, until the next entry
	missed map[*crashChange]bool
	seen   map[*crashChange]map[int64]bool // the branches
	died   int64                           // the newest branch that has what is no more; -1 for none
}

// checkStream: every committed change is there exactly once, in order. Where
// Redis was emptied, the stream begins anew, and its subscriber is told so; what
// is behind the copy to which a database was put back comes after a new branch
// has begun.
func (v *crashVerdict) checkStream(who string, lines []crashLine, reader bool) {
	if lines == nil {
		return
	}
	s := &streamCheck{crashVerdict: v, who: who, reader: reader, missed: map[*crashChange]bool{}, seen: map[*crashChange]map[int64]bool{}, died: -1}
	for _, l := range lines {
		switch {
		case l.Word == crashEntry:
			s.entry(l)
		case l.Word == crashResync && (l.Result == string(tracbus.ResyncStreamReset) || l.Result == string(tracbus.ResyncStreamTrimmed)):
			if s.gap = &l; s.last != nil { // else a first call that did not arrive was taken for a lost one
				v.checkAside(l)
			}
		default:
			v.checkAside(l)
		}
	}
	for _, c := range v.now {
		if s.seen[c] == nil && !s.missed[c] {
			v.add(crashLost, "%s has not %v, %s by %s", who, c.attackPlace, c.resource, c.by)
		}
	}
}

func (s *streamCheck) entry(l crashLine) {
	id, err := readCrashID(l.ID)
	if err != nil {
		s.add(crashContent, "%s has an entry with id %q", s.who, l.ID)
		return
	}
	message, err := readCrashMessage(l.Channel, l.Payload)
	message.Word, message.attackPlace, message.Mark = l.Word, attackPlace{id.tid, id.seq}, l.Mark
	if err != nil {
		s.add(crashContent, "%s has at %s a message that is none: %v", s.who, l.ID, err)
		return
	}
	if s.reader && (l.attackPlace != message.attackPlace || l.By != message.By || l.Resource != message.Resource ||
		l.Kind != message.Kind || !sameState(l.Old, message.Old) || !sameState(l.New, message.New)) {
		s.add(crashContent, "%s has at %s an event that is not its message: %v %s %s", s.who, l.ID, l.attackPlace, l.Resource, l.Kind)
	}
	c := s.find(s.who, message)
	if c == nil {
		return
	}
	branches := s.seen[c]
	switch {
	case branches[id.branch]:
		s.add(crashTwice, "%s has %v, %s, twice in branch %d", s.who, c.attackPlace, c.resource, id.branch)
	case len(branches) > 0 && s.redis == redisEmptied:
		s.repeated++
	case len(branches) > 0 && !(s.gone != nil && c.side == both):
		s.add(crashTwice, "%s has %v, %s, again in branch %d", s.who, c.attackPlace, c.resource, id.branch)
	}
	if s.last != nil && !id.after(s.newest) && !branches[id.branch] {
		s.add(crashLate, "%s has %v, %s, after %v", s.who, c.attackPlace, c.resource, s.last.attackPlace)
	}
	switch {
	case c.side == live && id.branch <= s.died:
		s.add(crashLate, "%s has %v, %s, in branch %d, which has what is no more", s.who, c.attackPlace, c.resource, id.branch)
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
func (s *streamCheck) admit(c *crashChange) {
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
			s.add(crashResyncs, "%s was told of changes missed behind tid %d up to %d, and missed %v", s.who, s.gap.Behind, s.gap.UpTo, missed.attackPlace)
		}
		s.missed[missed] = true
	}
}
