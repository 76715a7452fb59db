// Package probe asks a journal's database whether there may be something to read, for less
// than a read costs. Its secret is the question.
package probe

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// Probe asks the database of one journal. It is for one goroutine, and is closed after
// use.
type Probe struct {
	store   *store.Store
	db      *sql.DB
	conn    *sql.Conn // asked for SQLite's data_version, which is a connection's own
	version int64

	last, at store.Place   // the last transaction, and the place, when there was something to read
	again    time.Time     // from when on the same answer is news again
	pause    time.Duration // until then
}

// The pause in which the same answer is no news doubles from the first to the last of these: what
// there is to read is held back by a transaction that has not ended.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

// Of returns a probe of a journal that is in a database, which has not asked yet.
func Of(s *store.Store, db *sql.DB) *Probe { return &Probe{store: s, db: db} }

// Changed says whether there may be something to read after a place. On SQLite the
// question is whether anybody has written since it was asked last: that is a look at one
// number in shared memory. Elsewhere it is whether the place is the last transaction
// that there is. If it is, there is none after it, and none before it that was not decided
// when the place was read. If there is none at all, they are pruned.
func (p *Probe) Changed(ctx context.Context, at store.Place) bool {
	var err error
	defer p.store.Within(p.store.Limits().Answer, &ctx, &err)()
	if !p.store.OneWriter() {
		var last store.Place
		err = limit.QueryRow(ctx, p.db, p.store.SQL("SELECT tid, commit_id FROM {journal_change} ORDER BY tid DESC, seq DESC LIMIT 1")).Scan(&last.TID, &last.CommitID)
		if err != nil {
			return !errors.Is(err, sql.ErrNoRows)
		}
		return (last.TID != at.TID || at.CommitID != "" && last.CommitID != at.CommitID) && p.isNews(last, at)
	}
	most := p.db.Stats().MaxOpenConnections
	if most == 1 || most == 2 { // too few to keep one
		return true
	}
	if p.conn == nil {
		conn, err := p.db.Conn(ctx)
		if err != nil {
			return true
		}
		p.conn, p.version = conn, -1
	}
	var version int64
	if err := limit.QueryRow(ctx, p.conn, "PRAGMA data_version").Scan(&version); err != nil {
		p.Close()
		return true
	}
	changed := version != p.version
	p.version = version
	return changed
}

// isNews says whether there may be more to read than when the answer was the same.
func (p *Probe) isNews(last, at store.Place) bool {
	switch now := time.Now(); {
	case last != p.last || at != p.at:
		p.last, p.at, p.pause = last, at, firstPause
	case now.Before(p.again):
		return false
	default:
		p.pause = min(2*p.pause, lastPause)
	}
	p.again = time.Now().Add(p.pause)
	return true
}

// Close gives back the connection that the probe keeps, if any.
func (p *Probe) Close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
