// Package batch is about transactions of PostgreSQL whose driver sends many statements in one round
// trip, with COMMIT as the last of them. Its secret is what a driver has to say for that: what was
// sent, and which connection of the server it was, in case no answer comes.
package batch

import (
	"context"
	"errors"

	"github.com/tracbus/tracbus/internal/store"
)

// Statement is one of a batch.
type Statement struct {
	Text string
	Args []any
	Into *int64 // gets the one number that it answers; nil: it answers nothing that is wanted
}

// ErrNotSent says that nothing of a batch has reached the server.
var ErrNotSent = errors.New("nothing was sent")

// Tx is an application's transaction. It is for one goroutine at a time.
type Tx interface {
	// Session returns how the server names the connection, and whether that is sure. Else COMMIT
	// must not be sent with what it commits, because nobody could ask what became of it: the
	// transaction is not the outermost one, or a pooler may be on the way.
	Session(ctx context.Context) (s store.Session, sure bool, err error)

	// Send sends statements, and COMMIT behind them if that is to be, in one round trip. After one
	// that fails, the server runs none. An error is the server's word on a statement, or wraps ErrNotSent, or
	// says nothing of what was done. After a COMMIT, and if no answer has come, the transaction is closed.
	Send(ctx context.Context, commit bool, statements ...Statement) error
}
