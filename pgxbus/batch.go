package pgxbus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tracbus/tracbus/internal/batch"
	"github.com/tracbus/tracbus/internal/store"
)

// server is what is known of the session of a connection, which keeps it.
type server struct {
	store.Session
	sure bool
}

const serverKey = "tracbus.server"

// Session implements [batch.Tx]. A pooler invents the number that it says the server's process has,
// and so is found out: once for each connection, because that takes a round trip. Traces of what
// pgx does would show COMMIT in a wrong place, and so COMMIT goes alone if there is a tracer.
func (n native) Session(ctx context.Context) (_ store.Session, sure bool, err error) {
	c := n.tx.Conn()
	if !outermost(n.tx) || c.PgConn().TxStatus() != 'T' {
		return store.Session{}, false, nil
	}
	kept := c.PgConn().CustomData()
	s, known := kept[serverKey].(server)
	if !known {
		const ask = "SELECT pid, coalesce(" + store.SessionBegan + ", 0) FROM pg_stat_activity WHERE pid = pg_backend_pid()"
		if err := n.tx.QueryRow(ctx, ask).Scan(&s.ID, &s.Began); err != nil {
			return store.Session{}, false, fmt.Errorf("ask for the session: %w", err)
		}
		s.sure = s.ID == int64(c.PgConn().PID()) && s.Began != 0 && c.Config().Tracer == nil
		kept[serverKey] = s
	}
	return s.Session, s.sure, nil
}

// outermost says whether a transaction is surely that which COMMIT ends.
func outermost(tx pgx.Tx) bool {
	_, pooled := tx.(*pgxpool.Tx)
	return pooled || fmt.Sprintf("%T", tx) == "*pgx.dbTx"
}

// isNested says whether a transaction is a savepoint in another one.
func isNested(tx pgx.Tx) bool { return fmt.Sprintf("%T", tx) == "*pgx.dbSimulatedNestedTx" }

// Send implements [batch.Tx].
func (n native) Send(ctx context.Context, commit bool, statements ...batch.Statement) error {
	var b pgx.Batch
	for _, s := range statements {
		b.Queue(s.Text, s.Args...)
	}
	if commit {
		b.Queue("COMMIT") // not "commit", which close has pgx forget, if it was prepared
	}
	c := n.tx.Conn()
	if status := c.PgConn().TxStatus(); status != 'T' {
		return fmt.Errorf("%w: expected a transaction that is open and has not failed", batch.ErrNotSent)
	}
	err := n.results(n.tx.SendBatch(ctx, &b), commit, statements)
	var word *pgconn.PgError
	switch {
	case err == nil || errors.As(err, &word):
	case pgconn.SafeToRetry(err), errors.Is(err, pgx.ErrTxClosed): // the connection may be another's by now
		err = fmt.Errorf("%w: %w", batch.ErrNotSent, err)
	default: // the session has to end, because Outcome asks whether it has
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(over)
	}
	if c.IsClosed() || c.PgConn().TxStatus() == 'I' {
		n.close()
	}
	return err
}

func (n native) results(found pgx.BatchResults, commit bool, statements []batch.Statement) (err error) {
	defer func() { err = cmp.Or(err, found.Close()) }()
	for _, s := range statements {
		if s.Into != nil {
			err = found.QueryRow().Scan(s.Into)
		} else {
			_, err = found.Exec()
		}
		if err != nil {
			return err
		}
	}
	if commit {
		tag, err := found.Exec()
		if err == nil && tag.String() != "COMMIT" {
			err = fmt.Errorf("%w, as the server says: %s", pgx.ErrTxCommitRollback, tag)
		}
		return err
	}
	return nil
}

// close has pgx take the transaction as ended, and a pool its connection back, without asking the
// server: COMMIT with a context that has ended is not sent. If the connection is closed, there is
// nobody to ask.
func (n native) close() {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.tx.Commit(over)
}
