package embed_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

var errUndone = errors.New("undone")

// row is a ticket as GORM has it.
type row struct {
	ID    int64
	Title string
}

func (row) TableName() string { return "ticket" }

// create makes a ticket and records it.
func create(ctx context.Context, g *gorm.DB, tx *tracbus.ModelTransaction, title string) error {
	r := row{Title: title}
	if err := g.Create(&r).Error; err != nil {
		return err
	}
	return tx.Record(ctx, tracbus.TicketCreated{ID: r.ID, Values: tracbus.Fields{"title": title}})
}

// nest makes tickets in GORM's nested transactions, of which some are rolled back.
func nest(ctx context.Context, g *gorm.DB, tx *tracbus.ModelTransaction) error {
	if err := create(ctx, g, tx, "outer"); err != nil {
		return err
	}
	err := g.Transaction(func(g *gorm.DB) error {
		return errors.Join(create(ctx, g, tx, "undone"), g.Transaction(func(g *gorm.DB) error {
			return create(ctx, g, tx, "within undone")
		}), errUndone)
	})
	if !errors.Is(err, errUndone) {
		return err
	}
	return g.Transaction(func(g *gorm.DB) error {
		err := g.Transaction(func(g *gorm.DB) error { return errors.Join(create(ctx, g, tx, "undone within"), errUndone) })
		if !errors.Is(err, errUndone) {
			return err
		}
		return create(ctx, g, tx, "nested")
	})
}

// What GORM's nested transactions roll back is in no table, and is not told: in a transaction that GORM
// began, and in one of Update.
func TestNestedTransactionsOfGORM(t *testing.T) {
	testkit.NoLeaks(t)
	l := newLedger(t, testdatabase.New(t, "postgresql"))
	ctx := t.Context()
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: l.db}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	bus := tracbus.NewBus("gorm")
	j, err := tracbus.OpenJournal(ctx, l.db, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL})
	require.NoError(t, err)
	defer func() {
		require.NoError(t, j.Close(ctx))
		require.NoError(t, bus.Close(ctx))
	}()

	var joined *tracbus.ModelTransaction
	require.NoError(t, db.WithContext(ctx).Transaction(func(g *gorm.DB) error {
		if joined, err = j.Join(g.Statement.ConnPool); err != nil {
			return err
		}
		if err := errors.Join(joined.Prepare(tracbus.Actor{Author: "joe"}, ""), nest(ctx, g, joined)); err != nil {
			return err
		}
		_, err := joined.Flush(ctx)
		return err
	}))
	joined.Notify()
	assert.Equal(t, 2, l.count())
	assert.Equal(t, l.histories(), journaled(t, l, "postgresql"))

	_, err = j.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
		g := db.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
		g.Statement.ConnPool = nestable{tx.SQL()}
		return nest(ctx, g, tx)
	})
	require.NoError(t, err)
	assert.Equal(t, 4, l.count())
	assert.Equal(t, l.histories(), journaled(t, l, "postgresql"))
}

// nestable is the SQL of a ModelTransaction as GORM takes it for a transaction that has begun, in which
// it nests others by savepoints. Its end is Update's.
type nestable struct{ tracbus.SQL }

func (nestable) Commit() error   { return errors.New("the journal commits") }
func (nestable) Rollback() error { return errors.New("the journal rolls back: return an error") }
