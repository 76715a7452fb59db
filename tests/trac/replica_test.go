package trac_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// A replica of the table wiki, made of nothing but what listeners are told.
type replica struct {
	mu     sync.Mutex
	told   []tracbus.Event
	pages  map[string]map[int64]string // texts of the versions
	locked map[string]bool
	faults []string
}

func (r *replica) event(_ context.Context, e tracbus.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, e)
	switch e := e.(type) {
	case tracbus.WikiPageCreated:
		r.expect(e, r.pages[e.Page.Name] == nil, "there is one")
		r.pages[e.Page.Name] = map[int64]string{}
		r.put(e.Page)
	case tracbus.WikiPageChanged:
		newest := slices.Max(append(r.versions(e.Page.Name), 0))
		r.expect(e, newest > 0, "there is none")
		r.expect(e, r.pages[e.Page.Name][newest] == e.OldText, "the old text is another")
		r.put(e.Page)
	case tracbus.WikiPageDeleted:
		r.expect(e, r.pages[e.Page.Name] != nil, "there is none")
		delete(r.pages, e.Page.Name)
	case tracbus.WikiPageVersionDeleted:
		r.expect(e, r.pages[e.Page.Name][e.Page.Version] == e.Page.Text, "it was another")
		delete(r.pages[e.Page.Name], e.Page.Version)
	case tracbus.WikiPageRenamed:
		r.expect(e, r.pages[e.Page.Name] == nil, "there is one")
		r.pages[e.Page.Name], r.locked[e.Page.Name] = r.pages[e.OldName], r.locked[e.OldName]
		delete(r.pages, e.OldName)
	case tracbus.WikiPageCommentEdited:
		r.expect(e, r.pages[e.Page.Name][e.Page.Version] == e.Page.Text, "it was another")
	}
	return nil
}

func (r *replica) put(p tracbus.WikiPage) {
	r.pages[p.Name][p.Version], r.locked[p.Name] = p.Text, p.Readonly
}

func (r *replica) versions(name string) (versions []int64) {
	for v := range r.pages[name] {
		versions = append(versions, v)
	}
	return versions
}

func (r *replica) expect(e tracbus.Event, ok bool, fault string) {
	if !ok {
		r.faults = append(r.faults, fmt.Sprintf("tid %d.%d %s: %s", e.About().TID, e.About().Seq, inWords(e, time.Time{}), fault))
	}
}

// rows returns what the table should hold: of readonly, what counts.
func (r *replica) rows() (rows []string) {
	for name, versions := range r.pages {
		newest := slices.Max(r.versions(name))
		for v, s := range versions {
			row := fmt.Sprintf("%s %d %s", name, v, s)
			if v == newest {
				row += fmt.Sprintf(" readonly=%t", r.locked[name])
			}
			rows = append(rows, row)
		}
	}
	slices.Sort(rows)
	return rows
}

// randomStep is any change of a few pages. Some will be refused.
func randomStep(r *rand.Rand) any {
	name := func() string { return string("ABCD"[r.IntN(4)]) }
	switch r.IntN(10) {
	case 0:
		return deleted{trac.PageEdit{Name: name(), Base: int64(r.IntN(3))}}
	case 1:
		return trac.PageRename{Name: name(), NewName: name()}
	case 2:
		return deleted{trac.PageVersionDelete{Name: name(), Version: int64(r.IntN(3))}}
	case 3:
		return trac.PageCommentEdit{Name: name(), Comment: fmt.Sprint("comment", r.IntN(9))}
	case 4:
		return trac.PageEdit{Name: name(), Readonly: new(r.IntN(2) == 0)}
	case 5:
		return trac.PageEdit{Name: name(), Text: new(fmt.Sprint("text", r.IntN(3))), Readonly: new(r.IntN(2) == 0)}
	}
	return trac.PageEdit{Name: name(), Text: new(fmt.Sprint("text", r.IntN(3))), Comment: strings.Repeat("c", r.IntN(2))}
}

// Whatever writers do at the same time, what is told is what is in the table,
// and what is read back later is what was told.
func TestWhatIsToldOfPagesIsWhatIsThere(t *testing.T) {
	const writers, transactions = 4, 60
	onTracDatabases(t, func(t *testing.T, r *pageRig) {
		told := &replica{pages: map[string]map[int64]string{}, locked: map[string]bool{}}
		tracbus.On(r.bus, tracbus.Everywhere, told.event)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- r.journal.Run(ctx) }()

		var wg sync.WaitGroup
		var mu sync.Mutex
		var last int64
		for w := range writers {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(7, uint64(w)))
				for range transactions {
					steps := make([]any, 1+random.IntN(4))
					for i := range steps {
						steps[i] = randomStep(random)
					}
					tid, err := r.tryAll(t.Context(), steps)
					if !errors.Is(err, tracbus.ErrNotFound) && !errors.Is(err, trac.ErrPageExists) && !errors.Is(err, tracbus.ErrConflict) {
						assert.NoError(t, err)
					}
					mu.Lock()
					last = max(last, tid)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.NoError(t, r.journal.Wait(t.Context(), last))
		stop()
		<-ran

		assert.Empty(t, told.faults)
		assert.Equal(t, r.counts(t), told.rows())
		assert.Greater(t, len(told.told), writers*transactions/4, "changes")
		var again []tracbus.Event
		for e, err := range r.journal.Since(t.Context(), 0) {
			require.NoError(t, err)
			again = append(again, e)
		}
		assert.Equal(t, told.told, again)
	})
}

// tryAll runs steps in a transaction. It locks all pages first that it will come
// to: then no two transactions wait for each other, whatever their steps.
func (r *pageRig) tryAll(ctx context.Context, steps []any) (int64, error) {
	var pages []tracbus.Resource
	for _, step := range steps {
		switch m := step.(type) {
		case trac.PageRename:
			pages = append(pages, tracbus.Resource{Realm: tracbus.RealmWiki, ID: m.Name}, tracbus.Resource{Realm: tracbus.RealmWiki, ID: m.NewName})
		case deleted:
			pages = append(pages, m.Resource())
		case tracbus.Model:
			pages = append(pages, m.Resource())
		}
	}
	return r.journal.Update(ctx, joe, func(tx *tracbus.ModelTransaction) error {
		if err := tx.Lock(ctx, pages...); err != nil {
			return err
		}
		for _, step := range steps {
			var err error
			if d, ok := step.(deleted); ok {
				err = tx.Delete(ctx, d.Model)
			} else {
				err = tx.Save(ctx, step.(tracbus.Model))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// counts returns what is in the table in the form of replica.rows.
func (r *pageRig) counts(t *testing.T) (rows []string) {
	t.Helper()
	newest := map[string]string{}
	all := r.read(t, time.Time{}, "SELECT name, version, text, readonly FROM wiki ORDER BY name, version")
	for _, row := range all {
		newest[strings.Fields(row)[0]] = row
	}
	for _, row := range all {
		f := strings.Fields(row)
		s := strings.Join(f[:3], " ")
		if newest[f[0]] == row {
			s += fmt.Sprintf(" readonly=%t", f[3] == "1")
		}
		rows = append(rows, s)
	}
	slices.Sort(rows)
	return rows
}
