package progress

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sync"
	"time"

	"github.com/tracbus/tracbus/internal/store"
)

// syncEvery is for how long cursors within a transaction are not brought to the disk
// after one that was.
const syncEvery = 20 * time.Millisecond

// mover stores cursors that move within one transaction of the journal, on SQLite.
// There a commit waits for the disk, if synchronous is FULL, and a listener that takes
// one change at a time would wait with it 100,000 times in a large transaction. So
// these cursors are committed on a connection of their own with synchronous=NORMAL:
// they outlive the process, however it ends. A power failure takes back those of one
// syncEvery: the next cursor after that reaches the disk, or the next renewal of a lease.
//
// The connection is kept only while such a cursor moves, and has the pool's settings
// again when it goes back.
type mover struct {
	store *store.Store
	db    *sql.DB

	mu      sync.Mutex
	unfit   bool // the database has no write-ahead log
	synced  time.Time
	used    time.Time
	conn    *sql.Conn // nil: none is kept
	setting int       // of synchronous, that the connection goes back with; 0: it was not changed
	text    string    // of stmt
	stmt    *sql.Stmt
}

// moveWithin runs a statement that moves cursors within transactions, if the database
// is SQLite, and returns how many rows it changed. whole says that one of them leaves its
// transaction.
func (t *Tables) moveWithin(ctx context.Context, whole bool, text string, args []any) (n int64, ok bool) {
	if !t.store.OneWriter() {
		return 0, false
	}
	if whole {
		t.mover.rest(ctx, true)
		return 0, false
	}
	var err error // of the ordinary way, which says it
	defer t.within(&ctx, &err)()
	return t.mover.move(ctx, text, args)
}

// move runs a statement that moves a cursor within a transaction, and returns how many
// rows it changed. ok is false if that is to be done in the ordinary way, which is
// right also if the statement had an effect: it is then found to be done.
func (m *mover) move(ctx context.Context, text string, args []any) (n int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if m.unfit || now.Sub(m.synced) > syncEvery {
		return 0, false
	}
	if err := m.take(ctx, text); err != nil {
		m.giveBack(ctx)
		return 0, false
	}
	m.used = now
	result, err := m.stmt.ExecContext(ctx, args...)
	if err == nil {
		n, err = result.RowsAffected()
	}
	if err != nil {
		m.giveBack(ctx)
	}
	return n, err == nil
}

// reachedDisk notes that a statement has ended that waits for the disk: on a slow one,
// not that it began.
func (m *mover) reachedDisk() {
	m.mu.Lock()
	m.synced = time.Now()
	m.mu.Unlock()
}

// take takes a connection, unless it has one, and prepares a statement on it.
func (m *mover) take(ctx context.Context, text string) (err error) {
	if m.conn == nil {
		if most := m.db.Stats().MaxOpenConnections; most == 1 || most == 2 { // too few to keep one
			m.unfit = true
			return fmt.Errorf("a pool of %d connections: expected more", most)
		}
		waiting, cancel := context.WithTimeout(ctx, syncEvery) // others may have all of them
		defer cancel()
		if m.conn, err = m.db.Conn(waiting); err != nil {
			return err
		}
		var journal string
		if err := m.conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
			return err
		}
		if m.unfit = journal != "wal"; m.unfit {
			return fmt.Errorf("journal_mode %s: expected wal", journal)
		}
		var setting int
		if err := m.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&setting); err != nil {
			return err
		}
		if setting > 1 { // FULL or EXTRA
			m.setting = setting
			if _, err := m.conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
				return err
			}
		}
	}
	if m.stmt != nil && m.text == text {
		return nil
	}
	if m.stmt != nil {
		_ = m.stmt.Close()
	}
	m.text = text
	m.stmt, err = m.conn.PrepareContext(ctx, m.store.SQL(text))
	return err
}

// rest gives the connection back that is kept, if no cursor moved for a while or
// none is going to.
func (m *mover) rest(ctx context.Context, over bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if over || time.Since(m.used) > time.Second {
		m.giveBack(ctx)
	}
}

// giveBack gives the connection back as it was, or closes it.
func (m *mover) giveBack(ctx context.Context) {
	// A driver may not stand that a statement is closed after its connection was.
	if m.stmt != nil && m.conn.Raw(func(any) error { return nil }) == nil {
		_ = m.stmt.Close()
	}
	if m.conn != nil {
		if m.setting > 0 {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if _, err := m.conn.ExecContext(ctx, fmt.Sprint("PRAGMA synchronous = ", m.setting)); err != nil {
				_ = m.conn.Raw(func(any) error { return driver.ErrBadConn }) // it is closed
			}
		}
		_ = m.conn.Close()
	}
	m.conn, m.stmt, m.text, m.setting = nil, nil, "", 0
}
