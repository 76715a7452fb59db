package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// ErrCounter says that a tid was taken which is not above those that the journal has, or
// had before they were pruned: the counter of tids is behind its tables. That happens when
// only a part of a database is restored, or replicated, as a sequence of PostgreSQL is not.
// A change with such a tid would be delivered to nobody.
var ErrCounter = errors.New("the counter of tids is behind the journal's tables")

// highest asks for a tid that every new one has to be above.
const highest = "{GREATEST}((SELECT coalesce(max(tid), 0) FROM {journal_change}), (SELECT floor FROM {journal_facts} WHERE one = 1))"

// FitCounter sets the counter of tids to where the tables are, if it is behind them. It
// returns what the counter was, and what it is now. A transaction that has taken a tid
// before, and commits later, is refused by Append.
func (s *Store) FitCounter(ctx context.Context) (was, is int64, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	was, is, err = s.counter(ctx, s.db)
	if err != nil || was == is {
		return was, is, err
	}
	at := was
	err = s.Transact(ctx, func(conn *Conn) error {
		if s.dialect.migrated == "" { // else no setting undoes another
			if err := s.lockMigration(ctx, conn); err != nil {
				return err
			}
		}
		if was, is, err = s.counter(ctx, conn); err != nil || was == is {
			return err
		}
		return s.dialect.setCounter(s, ctx, conn, is)
	})
	if err != nil {
		err = fmt.Errorf("%w: the counter of tids is at %d, and the tables are at %d: set it to %d: %w", ErrSchema, at, is, is, err)
	}
	return was, is, err
}

// counter returns what the counter is, and what it should be.
func (s *Store) counter(ctx context.Context, q SQL) (is, fit int64, err error) {
	if err = limit.QueryRow(ctx, q, s.SQL("SELECT ("+s.dialect.counter+"), "+highest)).Scan(&is, &fit); err != nil {
		return 0, 0, err
	}
	return is, max(is, fit), nil
}

// behind is the error of a tid that is not above another.
func behind(tid, had int64) error {
	return fmt.Errorf("%w, as after a restore of a part of the database: tid %d was taken, and the tables are at tid %d: nothing was stored", ErrCounter, tid, had)
}

// explain makes err say so if journal_append has refused a tid.
func (s *Store) explain(ctx context.Context, q SQL, err error) error {
	if !sqltext.IsBehind(err) {
		return err
	}
	var is, had int64
	if limit.QueryRow(ctx, q, s.SQL("SELECT LAST_INSERT_ID(), "+highest+" LIMIT 1")).Scan(&is, &had) != nil {
		return fmt.Errorf("%w: %w", ErrCounter, err)
	}
	return fmt.Errorf("%w: %w", behind(is, had), err)
}
