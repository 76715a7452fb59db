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

// FitCounter sets the counter of tids to where the tables are, if it is behind them. On
// MySQL, where tids have no gaps, it also does if the counter is ahead. It returns what
// the counter was, and what it is now. A transaction that has taken a tid before, and
// commits later, is refused by Append.
func (s *Store) FitCounter(ctx context.Context) (was, is int64, err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	was, is, err = s.counter(ctx, s.db)
	if err != nil || was == is {
		return was, is, err
	}
	at := was
	err = s.Transact(ctx, func(conn *Conn) error {
		if err := s.lockCounter(ctx, conn); err != nil {
			return err
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
	if !s.dialect.gapless {
		fit = max(is, fit)
	}
	return is, fit, nil
}

// lockCounter keeps other processes from setting the counter, and on MySQL from
// taking tids.
func (s *Store) lockCounter(ctx context.Context, conn *Conn) error {
	if s.dialect.gapless {
		return limit.Ask(ctx, conn, s.SQL(readTID+" {FOR UPDATE}"))
	}
	return s.lockMigration(ctx, conn)
}

// behind is the error of a tid that is not above another.
func behind(tid, had int64) error {
	return fmt.Errorf("%w, as after a restore of a part of the database: tid %d was taken, and the tables are at tid %d: nothing was stored", ErrCounter, tid, had)
}

// explain makes err say so if the reason is a counter that is behind the tables: its tid,
// taken in q's transaction, was refused as null, or as one that exists. For any other
// error the two say nothing, because they are equal before and after an append.
func (s *Store) explain(ctx context.Context, q SQL, err error) error {
	if !sqltext.IsNull(err) && !sqltext.IsDuplicate(err) {
		return err
	}
	var is, had int64
	if limit.QueryRow(ctx, q, s.SQL("SELECT ("+s.dialect.counter+"), "+highest)).Scan(&is, &had) == nil && is > 0 && is <= had {
		return fmt.Errorf("%w: %w", behind(is, had), err)
	}
	return err
}
