package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// Batch is what comes after a place: whole transactions, in their order.
type Batch struct {
	// Places are the transactions, including those without a change of the realms
	// asked for. The batch reaches to the last of them.
	Places  []Place
	Changes []Change
	// More says that there is more to read at once.
	More bool
}

// batchBytes bounds the texts of a batch, but for those of one transaction.
const batchBytes = 8 << 20

// Read reads up to limit transactions after a place, of these realms. It takes only
// what is decided: no transaction can appear before or among them any more. It
// returns ErrPruned or ErrRewound, wrapped, if the place is gone.
func (s *Store) Read(ctx context.Context, q SQL, from Place, limit int, realms []string) (b Batch, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	transactions, more, err := s.transactions(ctx, q, from, limit)
	if err != nil || len(transactions) == 0 {
		return Batch{}, err
	}
	b, err = s.collect(ctx, q, from, transactions, realms)
	b.More = b.More || more
	if n := len(b.Places); n > 0 {
		s.noteDecided(b.Places[n-1])
	}
	return b, err
}

// noteDecided notes a place up to which all was decided.
func (s *Store) noteDecided(p Place) {
	if last := s.last.Load(); last == nil || last.TID < p.TID {
		s.last.Store(&p)
	}
}

// decided returns a tid up to which all is decided: what ask returns, or the last place
// that was read, if the database still has it. On PostgreSQL ask can return less than
// before: a writer may have stood still between reading the sequence and taking its
// lock, which then has an old tid in it. The tid that it is going to take is a new one.
func (s *Store) decided(ctx context.Context, q SQL, ask func(*Store, context.Context, SQL) (int64, error)) (int64, error) {
	tid, err := ask(s, ctx, q)
	last := s.last.Load()
	if err != nil || last == nil || last.TID <= tid {
		return tid, err
	}
	_, exists, err := s.find(ctx, q, last.CommitID, last.TID)
	if exists {
		return last.TID, err
	}
	if err == nil { // the history went back, or it is pruned
		s.last.CompareAndSwap(last, nil)
	}
	return tid, err
}

// collect reads the changes of transactions after a place; if they are long, those
// of the first transactions, and sets More.
func (s *Store) collect(ctx context.Context, q SQL, from Place, transactions []Transaction, realms []string) (b Batch, err error) {
	upTo := transactions[len(transactions)-1].TID
	for _, realm := range realms {
		if !slices.ContainsFunc(transactions, func(t Transaction) bool { return t.has(realm) }) {
			continue
		}
		changes, reached, err := s.changes(ctx, q, realm, from.TID, upTo)
		if err != nil {
			return Batch{}, err
		}
		if reached < upTo {
			upTo, b.More = reached, true
		}
		b.Changes = append(b.Changes, changes...)
	}
	n := len(transactions)
	for n > 1 && transactions[n-1].TID > upTo {
		n--
	}
	transactions = transactions[:n]
	if err := s.kept(ctx, q, from, transactions[n-1]); err != nil { // each was read as of another moment
		return Batch{}, err
	}
	b.Changes = slices.DeleteFunc(b.Changes, func(c Change) bool { return c.TID > upTo })
	slices.SortFunc(b.Changes, func(a, c Change) int {
		if a.TID != c.TID {
			return int(min(max(a.TID-c.TID, -1), 1))
		}
		return a.Seq - c.Seq
	})
	i := 0
	for _, t := range transactions {
		b.Places = append(b.Places, Place{t.TID, t.CommitID})
		n := i
		for ; i < len(b.Changes) && b.Changes[i].TID == t.TID; i++ {
			b.Changes[i].Origin, b.Changes[i].CommitID = t.Origin, t.CommitID
		}
		if known := slices.IndexFunc(realms, t.has); i == n && known >= 0 {
			damage := fmt.Errorf("the transaction has no rows in %s", t.Realms)
			b.Changes = slices.Insert(b.Changes, i, Change{TID: t.TID, Origin: t.Origin, CommitID: t.CommitID, Realm: realms[known], Damage: damage})
			i++
		}
	}
	return b, nil
}

func (t Transaction) has(realm string) bool {
	for r := range strings.SplitSeq(t.Realms, ",") {
		if r == realm {
			return true
		}
	}
	return false
}

// transactions reads the decided transactions after a place. The place itself is
// read with them, to see that this is still the history that it belongs to.
func (s *Store) transactions(ctx context.Context, q SQL, from Place, limit int) (found []Transaction, more bool, err error) {
	bound, err := s.decided(ctx, q, s.dialect.bound)
	if err != nil {
		return nil, false, err
	}
	upTo := max(bound, from.TID)
	rows, err := q.QueryContext(ctx, s.SQL("SELECT tid, mark, origin, realms FROM {journal_transaction} WHERE tid >= ? AND tid <= ? ORDER BY tid LIMIT ?"),
		from.TID, upTo, limit+2) // the place itself, and one to know of more
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var t Transaction
		if err := rows.Scan(&t.TID, &t.CommitID, &t.Origin, &t.Realms); err != nil {
			return nil, false, err
		}
		found = append(found, t)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, false, err
	}
	if len(found) > 0 && found[0].TID == from.TID && (from.CommitID == "" || found[0].CommitID == from.CommitID) {
		found = found[1:]
	} else {
		if err := s.gone(ctx, q, from); err != nil {
			return nil, false, err
		}
		if len(found) > 0 && found[0].TID == from.TID { // pruned, and here again
			return nil, false, ErrRewound
		}
	}
	found, more = found[:min(len(found), limit)], len(found) > limit
	if s.dialect.gapless {
		found, more = contiguous(found, from.TID, more)
	}
	return found, more, nil
}

// contiguous takes what follows a tid without a gap: a snapshot can show a later
// commit without the earlier one, which the next will show.
func contiguous(found []Transaction, after int64, more bool) ([]Transaction, bool) {
	for i, t := range found {
		if t.TID != after+int64(i)+1 {
			return found[:i], false
		}
	}
	return found, more
}

// gone says why a place does not exist: it was pruned, with what came after it, or
// this is not the history that it was seen in. If the journal is pruned up to the
// place itself, that is as good as if it existed.
func (s *Store) gone(ctx context.Context, q SQL, from Place) error {
	floor, err := s.PrunedTo(ctx, q)
	switch {
	case err != nil:
		return err
	case floor > from.TID:
		return fmt.Errorf("%w: it begins after tid %d, and tid %d is the place", ErrPruned, floor, from.TID)
	case floor < from.TID && from.CommitID != "":
		return fmt.Errorf("%w: tid %d with the commit id %s is not in it", ErrRewound, from.TID, from.CommitID)
	}
	return nil
}

// kept says whether what several statements have read belongs together. It returns
// ErrPruned if changes after a place are pruned, some or all of them: the floor rises
// before the rows are deleted. It returns ErrRewound if the last transaction is not there
// any more: the database was put back between the statements, and others may have its tid.
func (s *Store) kept(ctx context.Context, q SQL, from Place, last Transaction) (err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	// A subquery in place of the join is null if MariaDB is told to KILL QUERY, without an error.
	text := "SELECT f.floor, t.mark FROM {journal_facts} f LEFT JOIN {journal_transaction} t ON t.tid = ? WHERE f.one = 1"
	var floor int64
	var commitID sql.NullString
	switch err := limit.QueryRow(ctx, q, s.SQL(text), last.TID).Scan(&floor, &commitID); {
	case err != nil:
		return err
	case floor > from.TID:
		return fmt.Errorf("%w: it begins after tid %d, and tid %d is the place", ErrPruned, floor, from.TID)
	case commitID.String != last.CommitID:
		return fmt.Errorf("%w: tid %d with the commit id %s was read, and is not in it any more", ErrRewound, last.TID, last.CommitID)
	}
	return nil
}

// PrunedTo returns the tid up to which changes are pruned.
func (s *Store) PrunedTo(ctx context.Context, q SQL) (floor int64, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	err = limit.QueryRow(ctx, q, s.SQL("SELECT floor FROM {journal_facts} WHERE one = 1")).Scan(&floor)
	return floor, err
}

// selectChanges is ended by more of the join's condition, a WHERE and an ORDER BY
// that both tables' keys can follow: PostgreSQL else reads all of the history,
// and MySQL sorts on disk.
const selectChanges = `SELECT j.tid, j.seq, {BYTES j.id}, j."change", j.time, {BYTES j.author}, {BYTES j.ipnr}, j.authenticated, {BYTES j.comment}, j.parts, {BYTES j.state},
	{BYTES h.field}, h.old_type, {BYTES h.old_value}, h.new_type, {BYTES h.new_value}
FROM {REALM_journal} j LEFT JOIN {REALM_history} h ON h.tid = j.tid AND h.seq = j.seq `

// changes reads a realm's changes of some transactions, and says up to which
// tid: less than asked for if they are long.
func (s *Store) changes(ctx context.Context, q SQL, realm string, after, upTo int64) (all []Change, reached int64, err error) {
	text := selectChanges + "AND h.tid > ? AND h.tid <= ? WHERE j.tid > ? AND j.tid <= ? ORDER BY j.tid, j.seq"
	rows, err := q.QueryContext(ctx, s.SQL(strings.ReplaceAll(text, "REALM", realm)), after, upTo, after, upTo)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	bytes := 0
	for rows.Next() {
		c, n, err := scanChange(rows, realm)
		if err != nil {
			return nil, 0, err
		}
		if last := len(all) - 1; bytes > batchBytes && last >= 0 && all[last].TID != c.TID {
			return all, all[last].TID, limit.Drain(ctx, rows)
		}
		limit.Progress(ctx)
		all = fold(all, c)
		bytes += n
	}
	return all, upTo, errors.Join(rows.Err(), rows.Close())
}

// fold adds a joined row to the changes that were read before it: it is one more
// field of the last of them, or another change.
func fold(all []Change, row Change) []Change {
	if last := len(all) - 1; last >= 0 && all[last].TID == row.TID && all[last].Seq == row.Seq {
		all[last].Fields = append(all[last].Fields, row.Fields...)
		return all
	}
	return append(all, row)
}

// scanChange reads a change with one of its fields, and how long it is. SQLite's
// columns can hold what does not fit their type: that is Damage.
func scanChange(rows *sql.Rows, realm string) (c Change, bytes int, err error) {
	var field sql.NullString
	var f Field
	c.Realm = realm
	err = rows.Scan(&c.TID, &c.Seq, &c.ID, &c.Kind, &c.Time, &c.Author, &c.IPNR, &c.Authenticated, &c.Comment, &c.Attrs, &c.State,
		&field, &f.Old.Type, &f.Old.Text, &f.New.Type, &f.New.Text)
	if err != nil {
		damaged := Change{Realm: realm, Damage: err}
		var rest [14]any
		all := []any{&damaged.TID, &damaged.Seq}
		for i := range rest {
			all = append(all, &rest[i])
		}
		if rows.Scan(all...) == nil {
			return damaged, 0, nil
		}
	}
	if field.Valid {
		f.Name = field.String
		c.Fields = []Field{f}
	}
	return c, len(c.State) + len(c.Comment) + len(f.Old.Text.String) + len(f.New.Text.String), err
}

// History returns the changes of one resource after a tid and seq, oldest first, up to
// limit, as far as they are decided.
func (s *Store) History(ctx context.Context, q SQL, realm, id string, tid int64, seq, limit int) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	return s.of(ctx, q, realm, id, "(tid > ? OR tid = ? AND seq > ?) AND tid <= ? ORDER BY tid, seq", tid, seq, limit)
}

// HistoryBefore returns the last changes of one resource before a tid and seq, in
// their order, up to limit, as far as they are decided.
func (s *Store) HistoryBefore(ctx context.Context, q SQL, realm, id string, tid int64, seq, limit int) (all []Change, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	return s.of(ctx, q, realm, id, "(tid < ? OR tid = ? AND seq < ?) AND tid <= ? ORDER BY tid DESC, seq DESC", tid, seq, limit)
}

// of returns some changes of one resource, in their order.
func (s *Store) of(ctx context.Context, q SQL, realm, id, which string, tid int64, seq, most int) (all []Change, err error) {
	some := "(SELECT * FROM {REALM_journal} WHERE id = ? AND " + which + " LIMIT ?) j"
	text := strings.Replace(selectChanges, "{REALM_journal} j", some, 1) + "ORDER BY j.tid, j.seq"
	upTo, err := s.decided(ctx, q, s.dialect.decided)
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, s.SQL(strings.ReplaceAll(text, "REALM", realm)), id, tid, tid, seq, upTo, most)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c, _, err := scanChange(rows, realm)
		if err != nil {
			return nil, err
		}
		limit.Progress(ctx)
		all = fold(all, c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(all) == 0 {
		return nil, err
	}
	return all, s.sign(ctx, q, all, realm, id)
}

// sign fills in which transactions changes of one resource are of.
func (s *Store) sign(ctx context.Context, q SQL, changes []Change, realm, id string) error {
	text := `SELECT tid, mark, origin FROM {journal_transaction} WHERE tid IN (SELECT tid FROM {REALM_journal} WHERE id = ? AND tid >= ? AND tid <= ?)`
	rows, err := q.QueryContext(ctx, s.SQL(strings.ReplaceAll(text, "REALM", realm)), id, changes[0].TID, changes[len(changes)-1].TID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var t Transaction
		if err := rows.Scan(&t.TID, &t.CommitID, &t.Origin); err != nil {
			return err
		}
		i, _ := slices.BinarySearchFunc(changes, t.TID, func(c Change, tid int64) int { return cmp.Compare(c.TID, tid) })
		for ; i < len(changes) && changes[i].TID == t.TID; i++ {
			changes[i].CommitID, changes[i].Origin = t.CommitID, t.Origin
		}
	}
	return errors.Join(rows.Err(), rows.Close())
}
