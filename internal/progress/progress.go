// Package progress keeps the tables of durable consumers. Its secret is how a
// consumer's cursor, lease and dead letters are stored.
package progress

import (
	"context"
	"database/sql"

	"github.com/tracbus/tracbus/internal/store"
)

// Tables are journal_consumer, with a row for each consumer, and journal_dead_letter, with one
// for each dead letter. Their methods may be called concurrently.
type Tables struct {
	store *store.Store
	db    *sql.DB
	mover *mover
}

// Of returns the tables of a journal that is in a database.
func Of(s *store.Store, db *sql.DB) *Tables {
	return &Tables{store: s, db: db, mover: &mover{store: s, db: db}}
}

// Rest gives back the connection that is kept while a cursor moves within a
// transaction, if there is one.
func (t *Tables) Rest(ctx context.Context) { t.mover.rest(ctx, true) }

// within bounds what is asked of the database, as [store.Store.Within] says.
func (t *Tables) within(ctx *context.Context, err *error) (done func()) {
	return t.store.Within(t.store.Limits().Lock, ctx, err)
}

// JournalUUID names the journal.
func (t *Tables) JournalUUID() string { return t.store.UUID() }

// OneWriter says whether a transaction excludes all others from its beginning.
func (t *Tables) OneWriter() bool { return t.store.OneWriter() }
