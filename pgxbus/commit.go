package pgxbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tracbus/tracbus"
)

// errNested says that another transaction is to be committed.
var errNested = errors.New("it is a transaction within another one, such as tx.Begin makes: expected the outermost, or a Join of it")

// CommitWith commits a transaction that the application began, with the journal's rows about what it
// has changed:
//
//	tx, err := pool.Begin(ctx)
//	defer tx.Rollback(ctx)
//	_, err = tx.Exec(ctx, "UPDATE task SET status = 'done' WHERE id = $1", 17)
//	tid, err := pgxbus.CommitWith(ctx, journal, tx, tracbus.Actor{Author: "joe"}, tracbus.TicketChanged{ID: 17, Old: old, New: new})
//
// The rows and COMMIT go in one round trip, with what locks the resources before. nil says that the
// commit holds, whatever happens to delivery; tid is 0 if there was nothing to deliver. An error that wraps
// [tracbus.ErrNotCommitted] says that it does not hold, and a [*tracbus.CommitUnknownError] that it is not
// known. A deferred Rollback does no harm in any case, and is needed after an error.
//
// ctx bounds how long others are waited for who hold one of the resources. From then on nothing is
// interrupted, so that the answer is heard. Where a pooler such as PgBouncer is on the way, or pgx has
// a tracer, or if a [tracbus.State] is among the changes, COMMIT goes in a round trip of its own, which ctx
// ends. The CommitQuery of [pgx.TxOptions] is used only then.
func CommitWith(ctx context.Context, j *tracbus.Journal, tx pgx.Tx, who tracbus.Actor, changes ...tracbus.Told) (tid int64, err error) {
	if isNested(tx) {
		return 0, fmt.Errorf("commit with: %w: %w", tracbus.ErrNotCommitted, errNested)
	}
	return j.CommitWith(ctx, native{tx}, who, func() error { return tx.Commit(ctx) }, changes...)
}

// Join is [tracbus.Journal.Join] of a transaction of pgx. Flush goes before the application's commit,
// and Notify after it.
func Join(j *tracbus.Journal, tx pgx.Tx) (*tracbus.ModelTransaction, error) { return j.Join(SQL(tx)) }
