package pgxbus

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tracbus/tracbus"
)

// Journal is a [tracbus.Journal] of an application that has a pool of pgx and its transactions.
type Journal struct {
	*tracbus.Journal
	db *sql.DB
}

// Open is [tracbus.OpenJournal] over a pool of pgx, which is borrowed: the journal uses connections
// of it, and does not close it. Dialect is PostgreSQL. A journal that has
// no Waker gets that of [NewWaker].
func Open(ctx context.Context, pool *pgxpool.Pool, bus *tracbus.Bus, config tracbus.JournalConfig) (*Journal, error) {
	config.Dialect = tracbus.PostgreSQL
	if config.Waker == nil {
		config.Waker = NewWaker(pool)
	}
	db := stdlib.OpenDBFromPool(pool)
	j, err := tracbus.OpenJournal(ctx, db, bus, config)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Journal{j, db}, nil
}

// CommitWith is the function [CommitWith] with this journal.
func (j *Journal) CommitWith(ctx context.Context, tx pgx.Tx, who tracbus.Actor, changes ...tracbus.Told) (tid int64, err error) {
	return CommitWith(ctx, j.Journal, tx, who, changes...)
}

// Join is the function [Join] with this journal.
func (j *Journal) Join(tx pgx.Tx) (*tracbus.ModelTransaction, error) { return Join(j.Journal, tx) }

// Close is that of [tracbus.Journal]. The pool stays open: close it last.
func (j *Journal) Close(ctx context.Context) error {
	if err := j.Journal.Close(ctx); err != nil {
		return err
	}
	return j.db.Close()
}
