package tracbustest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
)

// told is a change of a ticket as a process receives it.
func told(tid, ticket, n int64, primary bool) tracbus.Event {
	return tracbus.TicketChanged{
		Change: tracbus.Change{TID: tid, Comment: fmt.Sprint("t", tid), Primary: primary}, ID: ticket, Values: tracbus.Fields{"n": number(n)},
	}
}

// What a database or library would have to do wrong to break a promise is found in what was
// delivered.
func TestVerdictSeesFaults(t *testing.T) {
	sound := func() (*storm, map[string]bool) {
		s := &storm{group: group{{name: "a"}, {name: "b"}}}
		s.group[0].heard = []tracbus.Event{told(1, 1, 1, true), told(2, 2, 1, false), told(3, 1, 2, true)}
		s.group[1].heard = []tracbus.Event{told(1, 1, 1, false), told(2, 2, 1, true), told(3, 1, 2, false)}
		s.attempts = []attempt{
			{token: "t1", manner: plainly, tid: 1}, {token: "t2", process: 1, manner: plainly, tid: 2}, {token: "t3", manner: holding, tid: 3},
			{token: "t4", manner: undoing, err: fmt.Errorf("%w: %w", tracbus.ErrNotCommitted, errOnPurpose)},
			{token: "t5", manner: killing, err: tracbus.ErrCommitUnknown},
		}
		return s, map[string]bool{"t1": true, "t2": true, "t3": true}
	}
	for name, c := range map[string]struct {
		spoil func(s *storm, done map[string]bool)
		want  string // the promise that is broken; empty: none
	}{
		"sound": {func(*storm, map[string]bool) {}, ""},
		"one comes twice": {func(s *storm, _ map[string]bool) {
			s.group[1].heard = append(s.group[1].heard, told(3, 1, 2, false))
		}, promiseOnce.name},
		"one does not come": {func(s *storm, _ map[string]bool) { s.group[1].heard = s.group[1].heard[:2] }, promiseOnce.name},
		"one was not committed": {func(s *storm, _ map[string]bool) {
			s.group[0].heard = append(s.group[0].heard, told(4, 1, 3, true))
		}, promiseOnce.name},
		"a Resync": {func(s *storm, _ map[string]bool) { s.group[0].heard = append(s.group[0].heard, tracbus.Resync{}) }, promiseOnce.name},
		"another order": {func(s *storm, _ map[string]bool) {
			h := s.group[1].heard
			h[0], h[1] = h[1], h[0]
		}, promiseOrder.name},
		"not the order of commits": {func(s *storm, _ map[string]bool) {
			for _, m := range s.group {
				m.heard[0], m.heard[2] = told(1, 1, 2, m.heard[0].About().Primary), told(3, 1, 1, m.heard[2].About().Primary)
			}
		}, promiseOrder.name},
		"primary nowhere":    {func(s *storm, _ map[string]bool) { s.group[1].heard[1] = told(2, 2, 1, false) }, promisePrimary.name},
		"primary everywhere": {func(s *storm, _ map[string]bool) { s.group[0].heard[1] = told(2, 2, 1, true) }, promisePrimary.name},
		"primary elsewhere":  {func(s *storm, _ map[string]bool) { s.attempts[0].process = 1 }, promisePrimary.name},
		"a commit that does not hold": {func(s *storm, _ map[string]bool) {
			s.attempts = append(s.attempts, attempt{token: "t6", manner: plainly, tid: 6})
		}, promiseAnswers.name},
		"a rollback that was none": {func(s *storm, done map[string]bool) {
			done["t4"] = true
		}, promiseAnswers.name},
		"a failed function committed": {func(s *storm, _ map[string]bool) { s.attempts[0].manner = undoing }, promiseAnswers.name},
		"an answer that says nothing": {func(s *storm, _ map[string]bool) {
			s.attempts[4].err = errors.New("bad connection")
		}, promiseAnswers.name},
		"rolled back to a savepoint, and stored": {func(s *storm, done map[string]bool) { done["t1"+undone] = true }, promiseSavepoints.name},
		"rolled back to a savepoint, and told": {func(s *storm, _ map[string]bool) {
			for _, m := range s.group {
				e := told(4, 2, 2, m.name == "a").(tracbus.TicketChanged)
				e.Comment = "t1" + undone
				m.heard = append(m.heard, e)
			}
		}, promiseSavepoints.name},
		"a released savepoint is not stored": {func(s *storm, _ map[string]bool) { s.attempts[0].manner = nesting }, promiseSavepoints.name},
		"a released savepoint is not told":   {func(s *storm, done map[string]bool) { done["t1"+released] = true }, promiseSavepoints.name},
		"no try succeeds": {func(s *storm, _ map[string]bool) {
			for _, token := range []string{"t7", "t7'"} {
				s.attempts = append(s.attempts, attempt{token: token, manner: plainly, err: tracbus.ErrNotCommitted})
			}
		}, promiseCommits.name},
	} {
		t.Run(name, func(t *testing.T) {
			s, done := sound()
			c.spoil(s, done)
			v := &verdict{}
			s.judgeAnswers(v, done)
			for i := range s.group {
				s.judgeDelivery(v, i, done)
			}
			s.judgePrimary(v)
			names := map[string]bool{}
			for _, f := range v.wrong {
				names[f.promise.name] = true
			}
			if c.want == "" {
				assert.Empty(t, v.wrong)
			} else {
				assert.True(t, names[c.want], "%v", v.wrong)
			}
		})
	}
}

// The calls of a durable consumer come in order, each again at most until the next one.
func TestLogbookSeesFaults(t *testing.T) {
	spots := []spot{{1, 0}, {2, 0}, {2, 1}}
	for name, c := range map[string]struct {
		calls []call
		want  string
	}{
		"each once":          {[]call{{"", spots[0], 1}, {"", spots[1], 1}, {"", spots[2], 2}}, ""},
		"one again":          {[]call{{"", spots[0], 1}, {"", spots[1], 1}, {"", spots[1], 2}, {"", spots[2], 2}}, ""},
		"one left out":       {[]call{{"", spots[0], 1}, {"", spots[2], 1}}, "after 1 changes, the consumer was called with tid 2.1"},
		"back":               {[]call{{"", spots[0], 1}, {"", spots[1], 1}, {"", spots[0], 2}}, "called with tid 1.0"},
		"the last one lacks": {[]call{{"", spots[0], 1}, {"", spots[1], 1}}, "handled 2 of 3"},
		"an older lease":     {[]call{{"", spots[0], 2}, {"", spots[1], 1}, {"", spots[2], 2}}, "under the fencing token 1, after 2"},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&logbook{calls: c.calls}).verdict(spots)
			if c.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.want)
			}
		})
	}
	l := &logbook{failing: map[string]bool{}}
	assert.NoError(t, l.write(t.Context(), told(1, 1, 1, true).(tracbus.TicketChanged)))
	assert.ErrorContains(t, l.verdict(spots[:1]), "the context of a call has the lease")
}
