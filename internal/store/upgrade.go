package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// Version 2 had a table of transactions, and two tables for each realm. The step from it
// renames those first: so whoever writes them has ended, and processes of version 2 fail
// from then on instead of writing what is lost. Then it copies what they have, some
// transactions at a time, each time in a transaction of its own that one process makes at a
// time. So it can be interrupted at any point, and whoever opens the journal next goes on.
// At last it drops them: that they are there says that it is not finished.

// upgrade is what a process knows of the step that it makes.
type upgrade struct{ realms []string }

// copied is how many transactions are copied at once.
const copied = 1000

// upgrade returns the statements of the step's next transaction, none if it is finished.
func (s *Store) upgrade(ctx context.Context, q SQL, u *upgrade) ([]string, error) {
	l, err := s.look(ctx, q)
	if err != nil {
		return nil, err
	}
	from := "journal_transaction_2"
	if l.table("journal_transaction") {
		from = "journal_transaction"
	}
	if u.realms == nil {
		if u.realms, err = s.oldRealms(ctx, q, from); err != nil {
			return nil, err
		}
	}
	if l, err = s.look(ctx, q, u.realms...); err != nil {
		return nil, err
	}
	st := s.dialect.sql().Three(u.realms)
	if renames := st.Renames(l.table); len(renames) > 0 {
		if l.version < version { // once, while version 2 works on
			return append(st.Try, renames...), s.refuseDependants(ctx, q, u.realms)
		}
		return renames, nil
	}
	st = s.dialect.sql().Three(slices.DeleteFunc(slices.Clone(u.realms), func(realm string) bool { return !l.table(realm + "_journal_2") }))
	var after int64 // each transaction has a row then
	if err := limit.QueryRow(ctx, q, s.SQL("SELECT coalesce(max(tid), 0) FROM {journal_change}")).Scan(&after); err != nil {
		return nil, err
	}
	var upTo sql.NullInt64
	err = limit.QueryRow(ctx, q, s.SQL("SELECT max(tid) FROM (SELECT tid FROM {journal_transaction_2} WHERE tid > ? ORDER BY tid LIMIT ?) next"), after, copied).Scan(&upTo)
	if err != nil || !upTo.Valid {
		return slices.Concat(s.dialect.sql().Routines(), st.End), err
	}
	return st.Copies(after, upTo.Int64), nil
}

// refuseDependants refuses a step that could not be finished, or would take away what the
// application has made on the tables that it drops.
func (s *Store) refuseDependants(ctx context.Context, q SQL, realms []string) error {
	tables := []string{"journal_transaction"}
	for _, realm := range realms {
		tables = append(tables, viewsOf(realm)...)
	}
	var found sql.NullString
	text := s.dialect.sql().Dependants(tables)
	err := limit.QueryRow(ctx, q, s.SQL(text), slices.Repeat([]any{s.schema}, strings.Count(text, "?"))...).Scan(&found)
	if err == nil && found.Valid {
		err = fmt.Errorf("%w: on tables of version 2 that are dropped depend: %s; expected nothing: drop it first, and make it again on the views of version %d, which have the names of the tables", ErrSchema, found.String, version)
	}
	return err
}

// oldRealms returns the realms that have changes of version 2, and those of this journal.
func (s *Store) oldRealms(ctx context.Context, q SQL, from string) (realms []string, err error) {
	realms = slices.Clone(s.realms)
	rows, err := q.QueryContext(ctx, s.SQL("SELECT DISTINCT realms FROM {"+from+"}"))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var some string
		if err := rows.Scan(&some); err != nil {
			return nil, err
		}
		for realm := range strings.SplitSeq(some, ",") {
			if realm != "" && !slices.Contains(realms, realm) {
				realms = append(realms, realm)
			}
		}
	}
	return realms, errors.Join(rows.Err(), rows.Close())
}
