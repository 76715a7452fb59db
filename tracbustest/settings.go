package tracbustest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest/internal/hostile"
)

// checkTexts has the first process record pages with such names and texts, and reads what
// the last one receives.
func (c DatabaseConfig) checkTexts(ctx context.Context, r report, g group) {
	r.t.Helper()
	texts := append([]string{strings.Repeat("a long text, 長い文. ", 5000), "é", "e\u0301", "É", "e", "e ", "E"}, hostile.Texts...)
	pages := map[string]tracbus.WikiPage{}
	from, to := g[0], g[len(g)-1]
	before := len(to.delivered())
	tid, err := from.journal.Update(ctx, tracbus.Actor{Author: hostile.Texts[5], IPNR: "::1"}, func(tx *tracbus.ModelTransaction) error {
		for _, text := range texts {
			page := tracbus.WikiPage{Name: text[:min(len(text), 500)], Version: 1, Time: tx.Time(), Text: text, Comment: text}
			page.Name = strings.ToValidUTF8(page.Name, "")
			pages[page.Name] = page
			if err := tx.Record(ctx, tracbus.WikiPageCreated{Page: page}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = to.journal.Wait(ctx, tid)
	}
	if err != nil {
		r.broken(promiseTextsKept, "%v", err)
		return
	}
	for _, e := range to.delivered()[before:] {
		created, ok := e.(tracbus.WikiPageCreated)
		if !ok {
			continue
		}
		page, expected := pages[created.Page.Name]
		if !expected || created.Page.Text != page.Text || created.Comment != page.Comment || created.Author != hostile.Texts[5] {
			r.broken(promiseTextsKept, "%.80q came back as %.80q, with the comment %.80q, by %.80q", page.Text, created.Page.Text, created.Comment, created.Author)
		}
		delete(pages, created.Page.Name)
		c.checkHistory(ctx, r, to, created.Resource())
	}
	for name := range pages {
		r.broken(promiseTextsKept, "the page %.80q did not come back", name)
	}
}

// checkHistory looks whether a page has no other page's history.
func (c DatabaseConfig) checkHistory(ctx context.Context, r report, m *process, page tracbus.Resource) {
	r.t.Helper()
	var of []string
	for e, err := range m.journal.History(ctx, page) {
		if err != nil {
			r.broken(promiseTextsKept, "history of %.80q: %v", page.ID, err)
			return
		}
		of = append(of, e.Resource().ID)
	}
	if len(of) != 1 || of[0] != page.ID {
		r.broken(promiseTextsKept, "the history of the page %.80q is that of %.80q", page.ID, of)
	}
}

// bending are statements that would have a session store other texts than it is given.
var bending = map[tracbus.Dialect][]string{
	tracbus.PostgreSQL: {"SET LOCAL NAMES 'WIN1252'"},
	tracbus.MySQL:      {"SET SESSION sql_mode = ''", "SET NAMES latin1"},
}

// checkBent sets a session in a way that the library has to refuse.
func (c DatabaseConfig) checkBent(ctx context.Context, r report, p *place, g group) {
	r.t.Helper()
	for _, statement := range bending[p.dialect] {
		tid, err := g[0].journal.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
			if _, err := tx.SQL().ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
			return tx.Record(ctx, tracbus.TicketChanged{ID: 999, Values: tracbus.Fields{"text": "ü"}, Old: tracbus.Fields{"text": "u"}})
		})
		if !errors.Is(err, tracbus.ErrUnsupportedDatabase) || !errors.Is(err, tracbus.ErrNotCommitted) {
			r.broken(promiseBent, "after %s, Update returned tid %d and the error %v", statement, tid, err)
		}
	}
}
