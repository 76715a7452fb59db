// Package chain notices that a transaction of PostgreSQL goes on as another one. Its secret is
// what COMMIT AND CHAIN and ROLLBACK AND CHAIN leave as it was, and what not: the new
// transaction has all marks of the old one, but it begins later.
package chain

import (
	"context"
	"database/sql"
	"strings"
	"sync"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store/turns"
)

// Began is when a transaction began, in SQL: microseconds since 1970.
const Began = "CAST(extract(epoch FROM now()) * 1000000 AS bigint)"

// Watch is a transaction that is asked when it began before the first statement that may
// chain another one to it.
type Watch struct {
	turns.Plain

	mu    sync.Mutex
	began int64
}

// Began returns when the transaction began; 0 if no statement can have chained another one.
func (w *Watch) Began() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.began
}

func (w *Watch) before(ctx context.Context, query string) error {
	if !mayChain(query) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.began != 0 {
		return nil
	}
	return limit.QueryRow(ctx, w.Plain, "SELECT "+Began).Scan(&w.began)
}

// mayChain says whether a statement has the word for it, if only in a text.
func mayChain(query string) bool {
	const word = "chain"
	for i := 0; i+len(word) <= len(query); i++ {
		if query[i]|0x20 == word[0] && strings.EqualFold(query[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// ExecContext runs a statement.
func (w *Watch) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := w.before(ctx, query); err != nil {
		return nil, err
	}
	return w.Plain.ExecContext(ctx, query, args...)
}

// QueryContext runs a query.
func (w *Watch) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := w.before(ctx, query); err != nil {
		return nil, err
	}
	return w.Plain.QueryContext(ctx, query, args...)
}

// PrepareContext prepares a statement.
func (w *Watch) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := w.before(ctx, query); err != nil {
		return nil, err
	}
	return w.Plain.PrepareContext(ctx, query)
}
