package crash_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tracbus/tracbus"
)

// loaded is a LoadListener that knows the row of each ticket. Each change must begin
// where the row that it knows ends.
type loaded struct {
	complain func(what string)
	again    atomic.Bool // it is to be loaded at the next change

	mu   sync.Mutex
	rows map[int64]string // as "n maker"
}

// staleFor begins what it says of a change that does not fit what it knows.
const staleFor = "a LoadListener knew "

const selectRows = "SELECT id, n, maker FROM attack_item"

// Load implements tracbus.LoadListener.
func (l *loaded) Load(ctx context.Context, s *tracbus.Snapshot) error {
	rows, err := readRows(ctx, s)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = rows
	return nil
}

func readRows(ctx context.Context, q tracbus.SQL) (map[int64]string, error) {
	rows, err := q.QueryContext(ctx, selectRows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int64]string{}
	for rows.Next() {
		var id, n int64
		var maker string
		if err := rows.Scan(&id, &n, &maker); err != nil {
			return nil, err
		}
		all[id] = fmt.Sprint(n, " ", maker)
	}
	return all, rows.Err()
}

// TicketCreated implements tracbus.TicketListener.
func (l *loaded) TicketCreated(_ context.Context, e tracbus.TicketCreated) error {
	return l.change(e.ID, "", row(e.Values["n"], e.Values["text"]))
}

// TicketChanged implements tracbus.TicketListener.
func (l *loaded) TicketChanged(_ context.Context, e tracbus.TicketChanged) error {
	return l.change(e.ID, row(e.Old["n"], e.Old["text"]), row(e.New["n"], e.New["text"]))
}

// TicketDeleted implements tracbus.TicketListener.
func (l *loaded) TicketDeleted(_ context.Context, e tracbus.TicketDeleted) error {
	var n int64
	_, _ = fmt.Sscan(fmt.Sprint(e.Values["n"]), &n)
	return l.change(e.ID, row(e.Values["n"], e.Values["text"]), row(n+1, e.Values["by"]))
}

func row(n, maker any) string { return fmt.Sprint(fmt.Sprint(n), " ", maker) }

func (l *loaded) change(id int64, from, to string) error {
	if l.again.Swap(false) {
		return tracbus.ErrNeedsLoad
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.rows[id]; from != "" && known != from {
		l.complain(fmt.Sprintf(staleFor+"ticket %d as %q, and was told a change of it from %q to %q", id, known, from, to))
	}
	l.rows[id] = to
	return nil
}

// compare holds what it knows against the table, when nobody writes any more.
func (l *loaded) compare(ctx context.Context, q tracbus.SQL) error {
	rows, err := readRows(ctx, q)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, row := range rows {
		if l.rows[id] != row {
			l.complain(fmt.Sprintf("a LoadListener knows ticket %d as %q, and the table has %q", id, l.rows[id], row))
		}
	}
	return nil
}
