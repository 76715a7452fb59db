package foreign_test

import (
	"maps"
	"slices"
	"strings"
)

// checkPages: of each page, what was told leads from nothing to what the tables have, each version
// is told once, and what was committed before another write began is told before it. Trac locks no page:
// what happened at one time has no order.
func (v *verdict) checkPages() {
	writes := map[string]write{}
	touched := map[string][]write{} // by page
	for _, w := range v.writes {
		if w.N > 0 {
			continue
		}
		if w.Kind == created || w.Kind == changed {
			writes[w.Kind+" "+w.Resource+" by "+w.Token] = w
		}
		touched[w.Resource] = append(touched[w.Resource], w)
		if w.OldName != "" {
			touched[page(w.OldName)] = append(touched[page(w.OldName)], w)
		}
	}
	m := pageModel{verdict: v, pages: map[string]map[int64]string{}, begun: map[string]int64{}, races: map[string][]span{}, tainted: map[string]int64{}}
	if !v.serial {
		m.races = v.findRaces(touched)
	}
	seen := map[string]bool{}
	for _, t := range v.told {
		if !strings.HasPrefix(t.Resource, "wiki ") {
			continue
		}
		if t.Kind == created || t.Kind == changed {
			key := t.Kind + " " + t.Resource + " by " + t.Author
			w, ok := writes[key]
			switch {
			case !ok:
				v.add(isPhantom, "%v: %s, which nobody committed", t.Place, key)
				continue
			case seen[key]:
				v.add(isTwice, "%v: %s, again", t.Place, key)
				continue
			case t.Version != w.Version || t.Text != w.Token || t.Comment != w.Token:
				v.add(isState, "%v: %s: version %d with %q is told as version %d with %q", t.Place, key, w.Version, w.Token, t.Version, t.Text)
			}
			seen[key] = true
		}
		m.apply(t)
	}
	for key := range writes {
		if !seen[key] {
			v.add(isMissing, "%s", key)
		}
	}
	m.compare()
}

// span is from one moment to another, in nanoseconds since 1970.
type span struct{ from, to int64 }

// findRaces returns, for each page, when a transaction deleted or renamed it, or one of its versions,
// while another one wrote it. What it is after that is known when it is created again.
func (v *verdict) findRaces(touched map[string][]write) map[string][]span {
	races := map[string][]span{}
	for _, all := range touched {
		for i, a := range all {
			for _, b := range all[:i] {
				if (a.Kind == created || a.Kind == changed) && (b.Kind == created || b.Kind == changed) || a.Token == b.Token {
					continue
				}
				x, y := v.moments[a.Token], v.moments[b.Token]
				if x[1] != 0 && x[1] < y[0] || y[1] != 0 && y[1] < x[0] {
					continue
				}
				v.raced++
				both := span{min(x[0], y[0]), max(x[1], y[1], x[0]+1e9, y[0]+1e9)} // of one that was killed, the end is not known
				for _, w := range []write{a, b} {
					races[w.Resource] = append(races[w.Resource], both)
					if w.OldName != "" {
						races[page(w.OldName)] = append(races[page(w.OldName)], both)
					}
				}
			}
		}
	}
	return races
}

// pageModel is what a listener knows of the pages.
type pageModel struct {
	*verdict
	pages   map[string]map[int64]string
	begun   map[string]int64 // when the newest transaction began that was told of a page
	races   map[string][]span
	tainted map[string]int64 // pages that raced, and until when
}

// taint notes whether a page has raced up to a time in nanoseconds.
func (m *pageModel) taint(name string, at int64) {
	m.races[name] = slices.DeleteFunc(m.races[name], func(s span) bool {
		if s.from <= at {
			m.tainted[name] = max(m.tainted[name], s.to)
		}
		return s.from <= at
	})
}

func (m *pageModel) apply(t told) {
	versions := m.pages[t.Resource]
	if versions == nil {
		versions = map[int64]string{}
		m.pages[t.Resource] = versions
	}
	m.checkMoment(t)
	at := t.Time * 1000
	m.taint(t.Resource, at)
	if t.OldName != "" {
		m.taint(page(t.OldName), at)
		if until := max(m.tainted[page(t.OldName)], m.tainted[t.Resource]); until > 0 {
			m.tainted[t.Resource], m.tainted[page(t.OldName)] = until, until
		}
	}
	if until := m.tainted[t.Resource]; t.Kind == created && until > 0 && at > until {
		delete(m.tainted, t.Resource)
		clear(versions)
	}
	blame := func(format string, args ...any) {
		if m.tainted[t.Resource] == 0 {
			m.add(isChain, format, args...)
		}
	}
	switch t.Kind {
	case created, changed:
		if _, there := versions[t.Version]; there {
			blame("%v: version %d of %s is told to be new, and it was there", t.Place, t.Version, t.Resource)
		}
		if old := versions[below(versions, t.Version)]; t.Kind == changed && t.OldText != old {
			blame("%v: version %d of %s came after %q, it is told that after %q", t.Place, t.Version, t.Resource, old, t.OldText)
		}
		versions[t.Version] = t.Text
	case versionDeleted:
		if text, there := versions[t.Version]; !there || text != t.Text {
			blame("%v: version %d of %s, %q, is told to be deleted, and it was %q", t.Place, t.Version, t.Resource, t.Text, text)
		}
		if delete(versions, t.Version); len(versions) == 0 {
			blame("%v: the last version of %s is told to be deleted, and not the page", t.Place, t.Resource)
		}
	case deleted:
		if newest := below(versions, 1<<60); newest == 0 || newest != t.Version || versions[newest] != t.Text {
			blame("%v: %s is told to be deleted with version %d, %q, and it had version %d, %q", t.Place, t.Resource, t.Version, t.Text, newest, versions[newest])
		}
		clear(versions)
	case renamed:
		if old := m.pages[page(t.OldName)]; len(old) == 0 || len(versions) > 0 {
			blame("%v: %s is told to be renamed to %s, they had %d and %d versions", t.Place, t.OldName, t.Resource, len(old), len(versions))
		}
		maps.Copy(versions, m.pages[page(t.OldName)])
		delete(m.pages, page(t.OldName))
	}
}

// below returns the highest version below another one, 0 for none.
func below(versions map[int64]string, limit int64) (highest int64) {
	for n := range versions {
		if n < limit {
			highest = max(highest, n)
		}
	}
	return highest
}

// checkMoment: a transaction that ended before another began is told before it.
func (m *pageModel) checkMoment(t told) {
	moment, known := m.moments[t.Author]
	if !known {
		return
	}
	if moment[1] != 0 && moment[1] < m.begun[t.Resource] {
		m.add(isLate, "%v: %s by %s was committed before another change began that was told before it", t.Place, t.Resource, t.Author)
	}
	m.begun[t.Resource] = max(m.begun[t.Resource], moment[0])
}

// compare holds the pages against the tables.
func (m *pageModel) compare() {
	names := map[string]bool{}
	for name := range m.pages {
		names[name] = true
	}
	for name := range m.story.pages {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		m.taint(name, 1<<62)
		if told, there := m.pages[name], m.story.pages[name]; !maps.Equal(told, there) && m.tainted[name] == 0 {
			m.add(isState, "%s has versions %v, it is told to have %v", name, there, told)
		}
	}
}
