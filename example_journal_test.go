package tracbus_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac"
)

// tracker is an application that keeps issues in a table of its own, with
// database/sql. Behind "Added" stands what it takes to tell of them; the rest was
// there before.
type tracker struct {
	db *sql.DB
	// Added:
	bus     *tracbus.Bus
	journal *tracbus.Journal
	// As before.
}

func newTracker(ctx context.Context, db *sql.DB) (*tracker, error) {
	t := &tracker{db: db}
	// Added: who is told, and where the journal is.
	t.bus = tracbus.NewBus("issues")
	tracbus.On(t.bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
		_, err := fmt.Printf("mail: %s changed %s: %v, before %v\n", e.Author, e.Resource(), e.New, e.Old)
		return err
	})
	var err error
	t.journal, err = tracbus.OpenJournal(ctx, db, t.bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		return nil, err
	}
	go t.journal.Run(context.Background()) // until it is closed
	// As before.
	return t, nil
}

func (t *tracker) setStatus(ctx context.Context, user string, id int64, status string) error {
	// Added: the transaction is the journal's.
	_, err := t.journal.Update(ctx, tracbus.Actor{Author: user}, func(tx *tracbus.ModelTransaction) error {
		// As before, with tx.SQL() in the place of t.db.
		var title, old string
		if err := tx.SQL().QueryRowContext(ctx, `SELECT title, status FROM issue WHERE id = ?`, id).Scan(&title, &old); err != nil {
			return err
		}
		if _, err := tx.SQL().ExecContext(ctx, `UPDATE issue SET status = ? WHERE id = ?`, status, id); err != nil {
			return err
		}
		// Added: what changed. To the journal, an issue is a ticket.
		return tx.Record(ctx, tracbus.TicketChanged{
			ID:     id,
			Values: tracbus.Fields{"title": title, "status": status},
			Old:    tracbus.Fields{"status": old},
		})
	})
	// As before.
	return err
}

// setStatusInOwn is setStatus of an application that keeps its own transaction.
func (t *tracker) setStatusInOwn(ctx context.Context, user string, id int64, status string) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var title, old string
	if err := tx.QueryRowContext(ctx, `SELECT title, status FROM issue WHERE id = ?`, id).Scan(&title, &old); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE issue SET status = ? WHERE id = ?`, status, id); err != nil {
		return err
	}
	// Added: what changed, as the last thing before the commit.
	joined, err := t.journal.Join(tx)
	if err != nil {
		return err
	}
	if err := joined.Prepare(tracbus.Actor{Author: user}, ""); err != nil {
		return err
	}
	err = joined.Record(ctx, tracbus.TicketChanged{
		ID:     id,
		Values: tracbus.Fields{"title": title, "status": status},
		Old:    tracbus.Fields{"status": old},
	})
	if err != nil {
		return err
	}
	if _, err := joined.Flush(ctx); err != nil {
		return err
	}
	// As before.
	if err := tx.Commit(); err != nil {
		return err
	}
	// Added: or it is told at the next poll.
	joined.Notify()
	// As before.
	return nil
}

func (t *tracker) close(ctx context.Context) error {
	// Added:
	if err := errors.Join(t.journal.Close(ctx), t.bus.Close(ctx)); err != nil {
		return err
	}
	// As before.
	return t.db.Close()
}

// An application with tables of its own writes them as ever, in the journal's
// transaction, and reports what changed.
func ExampleJournal() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.setStatus(ctx, "joe", 4711, "closed"); err != nil { // rolled back: nobody is told
		fmt.Println(err)
	}
	if err := t.setStatus(ctx, "joe", 17, "closed"); err != nil {
		log.Fatal(err)
	}
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// update: not committed: sql: no rows in result set
	// mail: joe changed ticket 17: map[status:closed], before map[status:open]
}

// One that begins and commits its transactions itself lets the journal join them.
func ExampleJournal_Join() {
	ctx := context.Background()
	db, remove := issues()
	defer remove()
	t, err := newTracker(ctx, db)
	if err != nil {
		log.Fatal(err)
	}
	if err := t.setStatusInOwn(ctx, "ann", 17, "closed"); err != nil {
		log.Fatal(err)
	}
	if err := t.close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// mail: ann changed ticket 17: map[status:closed], before map[status:open]
}

// Trac's own tables, written as Trac does: a Trac on the same database shows it.
func ExampleJournal_Update() {
	ctx := context.Background()
	server, err := miniredis.Run() // stands for your Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	db, remove := tracDatabase(`INSERT INTO ticket (id, summary, status) VALUES (17, 'It does not start.', 'new');
		CREATE TABLE vote (ticket INTEGER, voter TEXT)`)
	defer remove()
	defer db.Close()
	if err := journalATicket(ctx, db, rdb); err != nil {
		log.Fatal(err)
	}
	// Output:
	// tid 1: joe changed ticket 17: map[milestone:m1], before map[milestone:]
}

// journalATicket is code in README.md.
func journalATicket(ctx context.Context, db *sql.DB, rdb redis.UniversalClient) error {
	bus := tracbus.NewBus("myenv") // the tracker's short name
	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
	tracbus.On(bus, tracbus.Everywhere, func(ctx context.Context, e tracbus.TicketChanged) error {
		_, err := fmt.Printf("tid %d: %s changed %s: %v, before %v\n", e.TID, e.Author, e.Resource(), e.New, e.Old)
		return err
	})
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		return err
	}
	go j.Run(context.Background()) // tells the bus, until Close

	tid, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: "192.0.2.17", Authenticated: true},
		func(tx *tracbus.ModelTransaction) error {
			if _, err := tx.SQL().ExecContext(ctx, `INSERT INTO vote VALUES (17, 'joe')`); err != nil { // a table of your own
				return err
			}
			return tx.Save(ctx, trac.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}, Comment: "Not now."})
		})
	if err != nil {
		return err
	}
	if err := j.Wait(ctx, tid); err != nil { // optional: this process's listeners have handled it
		return err
	}
	return errors.Join(j.Close(ctx), bus.Close(ctx)) // in this order, and then the database
}

// loadedPages is a LoadListener: it is built from the tables, and then told of
// exactly what they did not show.
type loadedPages struct{ pageCache }

func (c loadedPages) Load(ctx context.Context, s *tracbus.Snapshot) error {
	clear(c.pageCache)
	for name, err := range trac.LoadPageNames(ctx, s) {
		if err != nil {
			return err
		}
		page, _, err := trac.LoadPage(ctx, s, name)
		if err != nil {
			return err
		}
		c.pageCache[name] = page.Text
	}
	return nil
}

// WikiPageRenamed makes it a WikiPageRenamedListener, as a cache of pages should be.
func (c loadedPages) WikiPageRenamed(ctx context.Context, e tracbus.WikiPageRenamed) error {
	delete(c.pageCache, e.OldName)
	c.pageCache[e.Page.Name] = e.Page.Text
	return nil
}

// WikiPageVersionDeleted does not tell which text is the newest now.
func (c loadedPages) WikiPageVersionDeleted(ctx context.Context, e tracbus.WikiPageVersionDeleted) error {
	return tracbus.ErrNeedsLoad
}

// A cache that starts with what is there already.
func ExampleLoadListener() {
	ctx := context.Background()
	db, remove := tracDatabase(`INSERT INTO wiki (name, version, text) VALUES ('One', 1, 'first'), ('Two', 1, 'second')`)
	defer remove()
	defer db.Close()
	bus := tracbus.NewBus("myenv")
	cache := loadedPages{pageCache{}}
	bus.Wiki(tracbus.Everywhere, cache)
	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.SQLite})
	if err != nil {
		log.Fatal(err)
	}
	go j.Run(context.Background())

	tid, err := j.Update(ctx, tracbus.Actor{Author: "ann"}, func(tx *tracbus.ModelTransaction) error {
		return errors.Join(
			tx.Save(ctx, trac.PageEdit{Name: "One", Text: new("better"), Base: 1}),
			tx.Save(ctx, trac.PageRename{Name: "Two", NewName: "Three"}),
		)
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := j.Wait(ctx, tid); err != nil {
		log.Fatal(err)
	}
	fmt.Println(cache.pageCache)
	if err := errors.Join(j.Close(ctx), bus.Close(ctx)); err != nil {
		log.Fatal(err)
	}
	// Output:
	// map[One:better Three:second]
}

// tracDatabase returns a new SQLite file with tables of Trac.
func tracDatabase(statements string) (db *sql.DB, remove func()) {
	tables, err := os.ReadFile(filepath.Join("examples", "internal", "tracdb", "trac.sql"))
	if err != nil {
		log.Fatal(err)
	}
	return sqliteFile(strings.NewReplacer("{counted}", "INTEGER PRIMARY KEY", "{text}", "TEXT", "{options}", "").Replace(string(tables)) + statements)
}

// generated is what GORM's ConnPool and sqlc's DBTX are: tx.SQL() fits.
type generated interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	ExecContext(ctx context.Context, query string, args ...interface{}) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...interface{}) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...interface{}) *sql.Row
}

var _ generated = tracbus.SQL(nil)

// issues returns the application's database, a new SQLite file.
func issues() (db *sql.DB, remove func()) {
	return sqliteFile(`CREATE TABLE issue (id INTEGER PRIMARY KEY, title TEXT NOT NULL, status TEXT NOT NULL);
		INSERT INTO issue VALUES (17, 'It does not start.', 'open')`)
}

func sqliteFile(statements string) (db *sql.DB, remove func()) {
	folder, err := os.MkdirTemp("", "tracbus")
	if err != nil {
		log.Fatal(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(folder, "tracker.db")+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec(statements); err != nil {
		log.Fatal(err)
	}
	return db, func() { _ = os.RemoveAll(folder) }
}

// An application adds fewer than 30 lines, the way of Join included.
func TestAnApplicationAddsFewLines(t *testing.T) {
	source, err := os.ReadFile("example_journal_test.go")
	require.NoError(t, err)
	application, _, ok := strings.Cut(string(source), "\n// An application with tables of its own")
	require.True(t, ok)
	_, application, ok = strings.Cut(application, "\n)\n") // the imports
	require.True(t, ok)
	name, lines := "", map[string]int{}
	added := false
	for line := range strings.SplitSeq(application, "\n") {
		if m := regexp.MustCompile(`^(?:func \(t \*tracker\) |func |type )(\w+)`).FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "// Added"):
			added = true
		case strings.HasPrefix(line, "// As before"):
			added = false
		case added && line != "":
			lines[name]++
		default:
			assert.NotRegexp(t, `tracbus\.|journal|\bbus\b`, regexp.MustCompile(`//.*`).ReplaceAllString(line, ""), "not behind Added")
		}
	}
	t.Logf("lines added: %v", lines)
	common := lines["tracker"] + lines["newTracker"] + lines["close"]
	assert.Less(t, common+lines["setStatus"], 30)
	assert.Less(t, lines["setStatusInOwn"], 30)
	assert.NotZero(t, lines["setStatusInOwn"])
}
