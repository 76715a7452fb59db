package tracbustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest/internal/compare"
)

// verdict is what was seen after a storm.
type verdict struct {
	counts string
	wrong  []finding
}

// finding is one broken promise.
type finding struct {
	promise promise
	seen    string
}

func (v *verdict) add(p promise, format string, args ...any) {
	v.wrong = append(v.wrong, finding{p, fmt.Sprintf(format, args...)})
}

// tell reports each promise once, with the first of what was seen and how many there are.
func (v *verdict) tell(r report) {
	r.t.Helper()
	seen := map[string][]finding{}
	var names []string
	for _, f := range v.wrong {
		if seen[f.promise.name] == nil {
			names = append(names, f.promise.name)
		}
		seen[f.promise.name] = append(seen[f.promise.name], f)
	}
	for _, name := range names {
		all := seen[name]
		lines := make([]string, min(len(all), 5))
		for i := range lines {
			lines[i] = all[i].seen
		}
		if more := len(all) - len(lines); more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more", more))
		}
		r.broken(all[0].promise, "%s", strings.Join(lines, "\n"))
	}
}

// verdict compares what writers know, what the tables have, and what was delivered, as far as
// that can be read.
func (s *storm) verdict(ctx context.Context) (*verdict, error) {
	v := &verdict{}
	done, err := s.tokens(ctx)
	if err != nil {
		return v, err
	}
	s.judgeAnswers(v, done)
	for i := range s.group {
		s.judgeDelivery(v, i, done)
	}
	s.judgePrimary(v)
	if err := s.judgeJournal(ctx, v); err != nil {
		v.add(promiseReadBack, "%v", err)
	}
	return v, s.judgeSnapshot(ctx, v)
}

// tokens returns the transactions that the application's table has.
func (s *storm) tokens(ctx context.Context) (map[string]bool, error) {
	rows, err := s.place.admin.QueryContext(ctx, s.place.sql("SELECT token FROM {done}"))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	done := map[string]bool{}
	for rows.Next() {
		var token string
		if err := rows.Scan(&token); err != nil {
			return nil, err
		}
		done[token] = true
	}
	return done, rows.Err()
}

// judgeAnswers compares what each writer was told with the tables.
func (s *storm) judgeAnswers(v *verdict, done map[string]bool) {
	manners := map[manner]int{}
	refused, unknown, first := 0, 0, error(nil)
	succeeded := map[string]bool{} // by the token without its tries
	for _, a := range s.attempts {
		base := strings.TrimRight(a.token, "'")
		switch {
		case a.err == nil && !done[a.token]:
			v.add(promiseAnswers, "%s (%s): the answer was that it is committed as tid %d, and the table does not have it", a.token, a.manner, a.tid)
		case a.err == nil && (a.manner == undoing || a.manner == leaving):
			v.add(promiseAnswers, "%s (%s): its function failed, and the answer was that it is committed", a.token, a.manner)
		case a.err == nil && a.manner == nesting && !done[a.token+released]:
			v.add(promiseSavepoints, "%s: the savepoint was released, and the table does not have its change", a.token)
		case done[a.token+undone]:
			v.add(promiseSavepoints, "%s: the transaction was rolled back to the savepoint, and the table has its change", a.token)
		case a.err != nil && errors.Is(a.err, tracbus.ErrNotCommitted) && done[a.token]:
			v.add(promiseAnswers, "%s (%s): the answer was %q, and the table has it", a.token, a.manner, a.err)
		case a.err != nil && !errors.Is(a.err, tracbus.ErrNotCommitted) && !errors.Is(a.err, tracbus.ErrCommitUnknown):
			v.add(promiseAnswers, "%s (%s): the answer was %q", a.token, a.manner, a.err)
		}
		manners[a.manner]++
		switch {
		case a.err == nil:
			succeeded[base] = true
		case errors.Is(a.err, tracbus.ErrCommitUnknown):
			unknown++
			succeeded[base] = true // perhaps
		case a.manner == undoing || a.manner == leaving || a.manner == killing:
			succeeded[base] = true // as was meant
		default:
			refused++
			first = cmpOr(first, a.err)
		}
	}
	for _, a := range s.attempts {
		if base := strings.TrimRight(a.token, "'"); !succeeded[base] {
			v.add(promiseCommits, "%s (%s): %v", a.token, a.manner, a.err)
			succeeded[base] = true // it was said
		}
	}
	var parts []string
	for _, m := range slices.Sorted(maps.Keys(manners)) {
		parts = append(parts, fmt.Sprintf("%d %s", manners[m], m))
	}
	v.counts = fmt.Sprintf("%s; %d are in the table, %d commits are unknown", strings.Join(parts, ", "), len(done), unknown)
	if refused > 0 {
		v.counts += fmt.Sprintf(", and %d were refused and tried again, the first with: %v", refused, first)
	}
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// judgeDelivery compares what a process received with the tables, and with what the first
// one received.
func (s *storm) judgeDelivery(v *verdict, i int, done map[string]bool) {
	name, events := s.group[i].name, s.group[i].delivered()
	seen, last, counted := map[string]bool{}, spot{}, map[int64]int64{}
	for _, e := range events {
		change, ok := e.(tracbus.TicketChanged)
		if !ok {
			v.add(promiseOnce, "%s received a %T: %+v", name, e, e)
			continue
		}
		switch {
		case seen[change.Comment]:
			v.add(promiseOnce, "%s received %s again, as tid %d", name, change.Comment, change.TID)
		case strings.HasSuffix(change.Comment, undone) && !done[change.Comment]:
			v.add(promiseSavepoints, "%s received %s, as tid %d, which was rolled back to a savepoint", name, change.Comment, change.TID)
		case !done[change.Comment]:
			v.add(promiseOnce, "%s received %s, as tid %d, which was not committed", name, change.Comment, change.TID)
		}
		seen[change.Comment] = true
		at := spot{change.TID, change.Seq}
		if !last.before(at) {
			v.add(promiseOrder, "%s received tid %s after tid %s", name, at, last)
		}
		last = at
		n, _ := change.Values["n"].(json.Number)
		if got, _ := n.Int64(); got != counted[change.ID]+1 {
			v.add(promiseOrder, "%s received change %s of ticket %d, %s, after change %d", name, n, change.ID, change.Comment, counted[change.ID])
		}
		counted[change.ID]++
	}
	for _, token := range slices.Sorted(maps.Keys(done)) {
		if p := promiseOnce; !seen[token] {
			if strings.HasSuffix(token, released) {
				p = promiseSavepoints
			}
			v.add(p, "%s did not receive %s, which was committed", name, token)
		}
	}
	if i > 0 {
		if a, b := places(s.group[0].delivered()), places(events); !slices.Equal(a, b) {
			v.add(promiseOrder, "%s and %s received the changes in another order, or not the same ones: %d and %d", s.group[0].name, name, len(a), len(b))
		}
	}
}

// places shows where each event has its place.
func places(events []tracbus.Event) (all []string) {
	for _, e := range events {
		c := e.About()
		all = append(all, fmt.Sprintf("%d.%d %s %s", c.TID, c.Seq, e.Resource(), c.Comment))
	}
	return all
}

// judgePrimary looks in how many processes each change was primary.
func (s *storm) judgePrimary(v *verdict) {
	writers := map[string]int{}
	for _, a := range s.attempts {
		writers[a.token] = a.process
	}
	primary := map[string]int{}
	for i, m := range s.group {
		for _, e := range m.delivered() {
			if c := e.About(); c.Primary {
				primary[c.Comment]++
				if writer := writers[strings.TrimSuffix(c.Comment, released)]; i != writer {
					v.add(promisePrimary, "%s is primary in %s, and %s made it", c.Comment, m.name, s.group[writer].name)
				}
			}
		}
	}
	for _, e := range s.group[0].delivered() {
		if token := e.About().Comment; primary[token] != 1 {
			v.add(promisePrimary, "%s is primary in %d processes", token, primary[token])
		}
	}
}

// judgeJournal compares what was delivered with what the journal has.
func (s *storm) judgeJournal(ctx context.Context, v *verdict) error {
	for _, m := range s.group {
		var since []tracbus.Event
		for e, err := range m.journal.Since(ctx, 0) {
			if err != nil {
				return err
			}
			since = append(since, e)
		}
		delivered := m.delivered()
		if d := compare.Difference(delivered, since); d != "" {
			v.add(promiseReadBack, "%s: of what was delivered and what Since yields, %s", m.name, d)
		}
	}
	for item := range int64(2 * items) {
		r := tracbus.TicketResource(item + 1)
		var history, delivered []tracbus.Event
		for e, err := range s.group[0].journal.History(ctx, r) {
			if err != nil {
				return err
			}
			history = append(history, e)
		}
		for _, e := range s.group[0].delivered() {
			if e.Resource() == r {
				delivered = append(delivered, e)
			}
		}
		if d := compare.Difference(delivered, history); d != "" {
			v.add(promiseReadBack, "%s: of what was delivered and what History yields, %s", r, d)
		}
	}
	return nil
}

// judgeSnapshot compares the listener that was loaded with the tables.
func (s *storm) judgeSnapshot(ctx context.Context, v *verdict) error {
	if err := s.group[0].bus.Wait(ctx); err != nil { // for it is newer than the other listener
		return err
	}
	var want int64
	if err := s.place.admin.QueryRowContext(ctx, s.place.sql("SELECT sum(n) FROM {item}")).Scan(&want); err != nil {
		return err
	}
	if n, loaded := s.loader.state(); n != want || loaded == 0 {
		v.add(promiseSnapshot, "the listener was loaded %d times, and knows of %d changes; the tables have %d", loaded, n, want)
	}
	return nil
}
