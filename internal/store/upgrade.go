package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// Version 2 had a table of transactions, and two tables for each realm. The step from it
// renames those first: so whoever writes them has ended, and processes of version 2 fail
// from then on instead of writing what is lost. Then it copies what they have, some
// transactions at a time, each time in a transaction of its own that one process makes at a
// time. So it can be interrupted at any point, and whoever opens the journal next goes on.
// At last it drops them: that they are there says that it is not finished.

// step is the statements that make version 3 of version 2.
type step struct {
	begin, copy, end []string
}

// step reads them, for a journal that has these realms.
func (d *dialect) step(realms []string) (st step) {
	var counts []string
	for _, realm := range realms {
		counts = append(counts, "(SELECT count(*) FROM {"+realm+"_journal_2} x WHERE x.tid = t.tid)")
	}
	to := &st.begin
	for _, statement := range d.read("_3.sql") {
		if strings.Contains(statement, "AFTER") {
			to = &st.copy
		} else if to == &st.copy {
			to = &st.end
		}
		statement = strings.ReplaceAll(statement, "COUNTS", cmp.Or(strings.Join(counts, " + "), "0"))
		switch {
		case statement == "{journal_change}":
			for _, makes := range d.read(".sql") {
				if strings.Contains(makes, statement) {
					*to = append(*to, makes)
				}
			}
		case strings.Contains(statement, "REALM"):
			for _, realm := range realms {
				*to = append(*to, strings.ReplaceAll(statement, "REALM", realm))
			}
		default:
			*to = append(*to, statement)
		}
	}
	return st
}

// copies returns what copies the transactions after a tid, up to another.
func (st step) copies(after, upTo int64) (statements []string) {
	words := strings.NewReplacer("AFTER", strconv.FormatInt(after, 10), "UPTO", strconv.FormatInt(upTo, 10))
	for _, statement := range st.copy {
		statements = append(statements, words.Replace(statement))
	}
	return statements
}

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
	if renames := l.renames(s.dialect.step(u.realms).begin); len(renames) > 0 {
		return renames, nil
	}
	st := s.dialect.step(slices.DeleteFunc(slices.Clone(u.realms), func(realm string) bool { return !l.table(realm + "_journal_2") }))
	var after int64 // each transaction has a row then
	if err := limit.QueryRow(ctx, q, s.SQL("SELECT coalesce(max(tid), 0) FROM {journal_change}")).Scan(&after); err != nil {
		return nil, err
	}
	var upTo sql.NullInt64
	err = limit.QueryRow(ctx, q, s.SQL("SELECT max(tid) FROM (SELECT tid FROM {journal_transaction_2} WHERE tid > ? ORDER BY tid LIMIT ?) next"), after, copied).Scan(&upTo)
	if err != nil || !upTo.Valid {
		return st.end, err
	}
	return st.copies(after, upTo.Int64), nil
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

var renamed = regexp.MustCompile(`^(?:--.*\n)*(?:ALTER|RENAME) TABLE \{(\w+)\}`)

// renames returns the statements that begin the step, but for those whose table is renamed
// already: none if all are.
func (l looked) renames(begin []string) (statements []string) {
	some := false
	for _, statement := range begin {
		if name := renamed.FindStringSubmatch(statement); name != nil {
			if !l.table(name[1]) {
				continue
			}
			some = true
		}
		statements = append(statements, statement)
	}
	if !some {
		return nil
	}
	return statements
}
