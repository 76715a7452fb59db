package quorum

import "slices"

// Verdict is what those who were asked find.
type Verdict struct {
	Owner Node
	// Sure says that more than half of those who were asked said so, or, if the others
	// do not answer, of at least two who did; or that the node which had the slot
	// before said so itself.
	Sure bool
	// Contested says that the node which had the slot before still claims it. It
	// may not have heard, or know more than the others.
	Contested bool
}

// Tally counts who is said to have a slot.
type Tally struct {
	Before Node // that had it when it was asked last, or zero
	Asked  int  // how many are asked
	Late   bool // whoever has not answered will not

	votes []vote
	own   *Node // whom the node names that had it before
}

type vote struct {
	owner Node
	by    []string
}

// Heard says whether anybody has named a node.
func (t *Tally) Heard() bool { return len(t.votes) > 0 }

// Add counts the opinion of the node at an address.
func (t *Tally) Add(by string, owner Node) {
	if by == t.Before.Addr {
		t.own = &owner
	}
	for i, v := range t.votes {
		if v.owner.Same(owner) {
			t.votes[i].by = append(v.by, by)
			return
		}
	}
	t.votes = append(t.votes, vote{owner, []string{by}})
}

// Verdict returns whom most have named. A node that only names itself may not have
// heard that it was replaced, so that it loses a draw.
func (t *Tally) Verdict() (Verdict, bool) {
	claims := t.own != nil && t.own.Same(t.Before)
	if t.own != nil && !claims {
		return Verdict{Owner: *t.own, Sure: true}, true
	}
	var best *vote
	for i := range t.votes {
		v := &t.votes[i]
		if best == nil || len(v.by) > len(best.by) || len(v.by) == len(best.by) && slices.Equal(best.by, []string{best.owner.Addr}) {
			best = v
		}
	}
	if best == nil {
		return Verdict{}, false
	}
	of := t.Asked
	if t.Late {
		of = 0
		for _, v := range t.votes {
			of += len(v.by)
		}
		of = max(of, 2)
	}
	return Verdict{best.owner, 2*len(best.by) > of, claims && !best.owner.Same(t.Before)}, true
}
