package store

import (
	"context"
	"database/sql"

	"github.com/tracbus/tracbus/internal/limit"
)

// Watch asks whether anybody has written since it was asked last, if the database
// can answer that for less than a read costs. It is for one goroutine, and is
// closed after use.
type Watch struct {
	store   *Store
	conn    *sql.Conn // asked for SQLite's data_version, which is a connection's own
	version int64
}

// Watch returns a watch that has not been asked yet.
func (s *Store) Watch() *Watch { return &Watch{store: s} }

// Changed says whether somebody may have written. On SQLite the question is a
// look at one number in shared memory; elsewhere the answer is always yes.
func (w *Watch) Changed(ctx context.Context) bool {
	var err error
	defer w.store.Within(w.store.limits.Answer, &ctx, &err)()
	most := w.store.db.Stats().MaxOpenConnections
	if !w.store.OneWriter() || most == 1 || most == 2 { // too few to keep one
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
