package tracbus_test

// heardCheck goes along what the pub/sub subscriber received.
type heardCheck struct {
	*crashVerdict
	last   *crashChange // of this period of connection; nil if it begins
	newest int          // in the history that counts now
	turned bool         // it is that after the database was put back
	inOne  map[*crashChange]bool
	ever   map[*crashChange]bool
}

// checkHeard: in each period of connection, none is missing, none is out of
// order, and none comes twice. Over all periods, none comes twice either, as
// long as Redis and the database keep what they know.
func (v *crashVerdict) checkHeard() {
	h := &heardCheck{crashVerdict: v, newest: -1, inOne: map[*crashChange]bool{}, ever: map[*crashChange]bool{}}
	for _, l := range v.heard {
		if l.Word == crashHeard {
			h.message(l)
			continue
		}
		if v.checkAside(l); l.Word == crashResync {
			h.last = nil
			clear(h.inOne)
		}
	}
}

func (h *heardCheck) message(l crashLine) {
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
		h.add(crashLate, "the pub/sub subscriber received %v, %s, although it is no more", c.attackPlace, c.resource)
	case h.inOne[c]:
		h.add(crashTwice, "the pub/sub subscriber received %v, %s, twice", c.attackPlace, c.resource)
	case last != nil && c.at > last.at+1:
		h.skipped(c)
	case last != nil && c.at <= last.at:
		h.add(crashLate, "the pub/sub subscriber received %v, %s, after %v", c.attackPlace, c.resource, last.attackPlace)
	case c.at > h.newest:
	case h.redis != redisKeeps:
		h.repeated++
	case h.ever[c]:
		h.add(crashTwice, "the pub/sub subscriber received %v, %s, again after it was connected anew", c.attackPlace, c.resource)
	default:
		h.add(crashLate, "the pub/sub subscriber received %v, %s, only after %d others", c.attackPlace, c.resource, h.newest-c.at)
	}
}

func (h *heardCheck) skipped(c *crashChange) {
	h.add(crashLost, "the pub/sub subscriber received %v, %s, after %v, and nothing between", c.attackPlace, c.resource, h.last.attackPlace)
}

// turns says whether a change is the first after the database was put back.
func (h *heardCheck) turns(c *crashChange) bool {
	if h.gone == nil || h.turned || c.side == dead {
		return false
	}
	return c.side == live || c.at <= h.newest
}
