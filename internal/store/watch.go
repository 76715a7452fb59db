package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/tracbus/tracbus/internal/limit"
)

// Watch asks whether there may be something to read, for less than a read costs. It is
// for one goroutine, and is closed after use.
type Watch struct {
	store   *Store
	conn    *sql.Conn // asked for SQLite's data_version, which is a connection's own
	version int64
}

// Watch returns a watch that has not been asked yet.
func (s *Store) Watch() *Watch { return &Watch{store: s} }

// Changed says whether there may be something to read after a place. On SQLite the
// question is whether anybody has written since it was asked last: that is a look at one
// number in shared memory. Elsewhere it is whether the place is the last transaction
// that there is. If it is, there is none after it, and none before it that was not decided
// when the place was read. If there is none at all, they are pruned.
func (w *Watch) Changed(ctx context.Context, at Place) bool {
	var err error
	defer w.store.Within(w.store.limits.Answer, &ctx, &err)()
	if !w.store.OneWriter() {
		var last Place
		err = limit.QueryRow(ctx, w.store.db, w.store.SQL("SELECT tid, commit_id FROM {journal_change} ORDER BY tid DESC, seq DESC LIMIT 1")).Scan(&last.TID, &last.CommitID)
		same := last.TID == at.TID && (last.CommitID == at.CommitID || at.CommitID == "")
		return !errors.Is(err, sql.ErrNoRows) && !same
	}
	most := w.store.db.Stats().MaxOpenConnections
	if most == 1 || most == 2 { // too few to keep one
		return true
	}
	if w.conn == nil {
		conn, err := w.store.db.Conn(ctx)
		if err != nil {
			return true
		}
		w.conn, w.version = conn, -1
	}
	var version int64
	if err := limit.QueryRow(ctx, w.conn, "PRAGMA data_version").Scan(&version); err != nil {
		w.Close()
		return true
	}
	changed := version != w.version
	w.version = version
	return changed
}

// Close gives back the connection that the watch keeps, if any.
func (w *Watch) Close() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}
