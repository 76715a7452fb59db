package crash_test

// heardCheck goes along what the pub/sub subscriber received.
type heardCheck struct {
	*verdict
	last   *change // of this period of connection; nil if it begins
	newest int     // in the history that counts now
	turned bool    // it is that after the database was put back
	inOne  map[*change]bool
	ever   map[*change]bool
}

// checkHeard: in each period of connection, none is missing, none is out of
// order, and none comes twice. Over all periods, none comes twice either, as
// long as Redis and the database keep what they know.
func (v *verdict) checkHeard() {
	h := &heardCheck{verdict: v, newest: -1, inOne: map[*change]bool{}, ever: map[*change]bool{}}
	for _, l := range v.heard {
		if l.Word == heardWord {
			h.message(l)
			continue
		}
		if v.checkAside(l); l.Word == resyncWord {
			h.last = nil
			clear(h.inOne)
		}
	}
}

func (h *heardCheck) message(l note) {
	c := h.find("the pub/sub subscriber", l)
	if c == nil {
		return
	}
	defer func() {
		h.inOne[c], h.ever[c] = true, true
		h.last, h.newest = c, max(h.newest, c.at)
	}()
	if h.turns(c) {
		h.turned, h.newest = true, c.at-1
		if h.last == nil || c.at <= min(h.last.at+1, h.kept) {
			clear(h.inOne)
		} else {
			h.skipped(c)
		}
		return
	}
	switch last := h.last; {
	case h.turned && c.side == dead:
		h.add(isLate, "the pub/sub subscriber received %v, %s, although it is no more", c.Place, c.Resource)
	case h.inOne[c]:
		h.add(isTwice, "the pub/sub subscriber received %v, %s, twice", c.Place, c.Resource)
	case last != nil && c.at > last.at+1:
		h.skipped(c)
	case last != nil && c.at <= last.at:
		h.add(isLate, "the pub/sub subscriber received %v, %s, after %v", c.Place, c.Resource, last.Place)
	case c.at > h.newest:
	case h.redis != redisKeeps:
		h.repeated++
	case h.ever[c]:
		h.add(isTwice, "the pub/sub subscriber received %v, %s, again after it was connected anew", c.Place, c.Resource)
	default:
		h.add(isLate, "the pub/sub subscriber received %v, %s, only after %d others", c.Place, c.Resource, h.newest-c.at)
	}
}

func (h *heardCheck) skipped(c *change) {
	h.add(isLost, "the pub/sub subscriber received %v, %s, after %v, and nothing between", c.Place, c.Resource, h.last.Place)
}

// turns says whether a change is the first after the database was put back.
func (h *heardCheck) turns(c *change) bool {
	if h.gone == nil || h.turned || c.side == dead {
		return false
	}
	return c.side == live || c.at <= h.newest
}
