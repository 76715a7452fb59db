package pages_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/tracdatabase"
	"github.com/tracbus/tracbus/trac"
)

// names is a [tracbus.LoadListener] of its own that keeps the names of pages.
type names struct {
	mu    sync.Mutex
	all   []string
	loads int
}

func (n *names) Load(ctx context.Context, s *tracbus.Snapshot) error {
	rows, err := s.QueryContext(ctx, "SELECT DISTINCT name FROM wiki ORDER BY name")
	if err != nil {
		return err
	}
	defer rows.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = nil
	n.loads++
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		n.all = append(n.all, name)
	}
	return rows.Err()
}

func (n *names) HandleBatch(_ context.Context, events []tracbus.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range events {
		if created, ok := e.(tracbus.WikiPageCreated); ok {
			n.all = append(n.all, created.Page.Name)
		}
	}
	slices.Sort(n.all)
	return nil
}

func (n *names) read() (all []string, loads int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all), n.loads
}

// TestLoadedFromAHistoryThatIsGone puts a database back to between the place of a
// process, which had not read on, and what a snapshot showed to its listeners. New
// changes take the tids that were shown, or none do.
func TestLoadedFromAHistoryThatIsGone(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgresql", "mysql"} {
		t.Run(dialect, func(t *testing.T) {
			testkit.NoLeaks(t)
			k := desk.NewRestorable(t, dialect)
			db := k.Open(t, k.Source)
			for _, statement := range tracdatabase.Schema(dialect) {
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err, statement)
			}
			edit := func(name, text string) tracbus.Model { return trac.PageEdit{Name: name, Text: &text} }
			write := func(models ...tracbus.Model) (last int64) {
				t.Helper()
				pool := k.Open(t, k.Source) // an older one may have connections to what was there
				d := desk.Seat(t, k.Server, "", desk.Config{DB: pool, Idle: true})
				for _, m := range models {
					var err error
					last, err = d.Update(testkit.Within(t), desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Save(testkit.Within(t), m) })
					require.NoError(t, err)
				}
				d.Leave(t)
				return last
			}
			write(edit("InterMapTxt", "----\nPEP http://old/$1\n"), edit("BadContent", "{{{\nold\n}}}"), edit("Kept", "text"))
			restore := k.Backup(t)
			for i, instead := range [][]tracbus.Model{
				{edit("New1", "text"), edit("InterMapTxt", "----\nPEP http://new/$1\n"), edit("New2", "text"), edit("New3", "text")}, // one more
				nil,
			} {
				if i > 0 {
					restore()
				}
				t.Run(fmt.Sprint(len(instead), " in their place"), func(t *testing.T) {
					var bare names
					config := pages.Config{Logger: slog.New(slog.DiscardHandler)}
					links, bad, index := pages.NewInterMap(pages.InterMapConfig{Config: config}), pages.NewBadContent(config), pages.NewIndex(config)
					log := testkit.NewNotes()
					d := desk.Seat(t, k.Server, "", desk.Config{
						DB: k.Open(t, k.Source), Idle: true, Bus: tracbus.BusConfig{Logger: log.Logger()},
					})
					write(edit("InterMapTxt", "----\nPEP http://gone/$1\n"), edit("BadContent", "{{{\ngone\n}}}"), edit("Gone", "text"))
					for _, l := range []tracbus.WikiListener{links, bad, index} { // loaded from what is written by now
						d.Bus.Wiki(tracbus.Everywhere, l)
					}
					d.Bus.All(tracbus.Everywhere, &bare)
					has := func(pep, content string, all ...string) bool {
						url, _, _ := links.Expand("pep", "8")
						pattern, _, _ := bad.Match(t.Context(), "it is old, or gone")
						seen, _ := bare.read()
						return url == pep && pattern == content && slices.Equal(all, slices.Sorted(index.Get().All())) && slices.Equal(all, seen)
					}
					testkit.Until(t, "all is loaded", func() bool { return has("http://gone/8", "gone", "BadContent", "Gone", "InterMapTxt", "Kept") })

					restore()
					last := write(instead...)
					d.Follow()
					want, all := "http://old/8", []string{"BadContent", "InterMapTxt", "Kept"}
					if last > 0 {
						want, all = "http://new/8", append(all, "New1", "New2", "New3")
						require.NoError(t, d.Wait(testkit.Within(t), last))
						require.NoError(t, d.Bus.Wait(testkit.Within(t)))
					}
					testkit.Until(t, "all is as in the tables", func() bool { return has(want, "old", all...) })
					assert.GreaterOrEqual(t, log.Count("a listener was loaded from a history that is gone"), 4)
					_, loads := bare.read()
					assert.GreaterOrEqual(t, loads, 2)
					d.Leave(t)
				})
			}
		})
	}
}
