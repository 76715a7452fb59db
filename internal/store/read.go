package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

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
//
// The rows of one statement are as of one moment, and those of a transaction are deleted
// together: so none is there in part. The place itself is read with them, to see that this
// is still the history that it belongs to.
func (s *Store) Read(ctx context.Context, q SQL, from Place, limit int, realms []string) (b Batch, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	for range looks {
		var again bool
		if b, again, err = s.readOnce(ctx, q, from, limit, realms); err != nil || !again {
			break
		}
	}
	return b, err
}

// readOnce is Read. If it has nothing to return, again says that there is something now: of
// tids that were missing, some are decided.
func (s *Store) readOnce(ctx context.Context, q SQL, from Place, limit int, realms []string) (b Batch, again bool, err error) {
	bound, err := s.decided(ctx, q, s.dialect.bound)
	if err != nil {
		return Batch{}, false, err
	}
	most := limit + 2 // the place itself, and one to know of more
	rows, err := q.QueryContext(ctx, s.SQL(selectChanges+", CASE WHEN tid > ? THEN {BYTES document} END FROM {journal_change} WHERE tid >= ? AND (tid > ? OR seq = 0) AND tid <= ? ORDER BY tid, seq LIMIT ?"),
		from.TID, from.TID, from.TID, max(bound, from.TID), most)
	if err != nil {
		return Batch{}, false, err
	}
	g, err := gather(ctx, rows, gathering{realms: realms, bytes: batchBytes, gapless: s.dialect.gapless, after: from.TID})
	if err != nil {
		return Batch{}, false, err
	}
	if err := s.follows(ctx, q, from, g.groups); err != nil {
		return Batch{}, false, err
	}
	if len(g.groups) > 0 && g.groups[0].TID == from.TID {
		g.groups = g.groups[1:]
	}
	b.More = g.long || g.rows == most
	if g.rows == most { // the last may have more rows
		if g.groups, err = s.complete(ctx, q, g.groups, realms); err != nil {
			return Batch{}, false, err
		}
	}
	if len(g.groups) > limit {
		g.groups, b.More = g.groups[:limit], true
	}
	for _, t := range g.groups {
		b.Places = append(b.Places, t.Place)
		b.Changes = append(b.Changes, t.all(realms)...)
	}
	if n := len(b.Places); n > 0 {
		s.noteDecided(ctx, b.Places[n-1])
	}
	if g.gap > 0 && !b.More && q == SQL(s.db) {
		b.More, err = s.closer.Decide(ctx, g.gap, g.gapEnd)
	}
	return b, b.More && len(b.Places) == 0, err
}

// follows says why what was read does not follow a place: the place is not the first of it.
func (s *Store) follows(ctx context.Context, q SQL, from Place, groups []group) error {
	there := len(groups) > 0 && groups[0].TID == from.TID
	if there && (from.CommitID == "" || groups[0].CommitID == from.CommitID) {
		return nil
	}
	if err := s.gone(ctx, q, from); err != nil {
		return err
	}
	if there { // pruned, and here again
		return ErrRewound
	}
	return nil
}

// noteDecided notes a place up to which all was decided, if its commit id is known.
func (s *Store) noteDecided(ctx context.Context, p Place) {
	if last := s.last.Load(); p.CommitID != "" && (last == nil || last.TID < p.TID) {
		s.last.Store(&p)
	}
	if s.dialect.gapless && p.CommitID != "" {
		s.closer.Note(ctx, p.TID, p.CommitID)
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
	_, exists, err := s.find(ctx, q, last.CommitID, last.TID, 0)
	if exists {
		return last.TID, err
	}
	if err == nil { // the history went back, or it is pruned
		s.last.CompareAndSwap(last, nil)
	}
	return tid, err
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

// PrunedTo returns the tid up to which changes are pruned.
func (s *Store) PrunedTo(ctx context.Context, q SQL) (floor int64, err error) {
	defer s.Within(s.limits.Answer, &ctx, &err)()
	err = limit.QueryRow(ctx, q, s.SQL("SELECT floor FROM {journal_facts} WHERE one = 1")).Scan(&floor)
	return floor, err
}

// selectChanges is followed by the document, which need not be read.
const (
	selectChanges = `SELECT tid, seq, changes, commit_id, origin, realm, {BYTES id}, "change", time, {BYTES author}, {BYTES ipnr}, authenticated, {BYTES env}, {BYTES comment}, parts`
	fromChanges   = ", {BYTES document} FROM {journal_change} "
)

// group is the rows of one transaction.
type group struct {
	Place
	size    int // how many changes it has
	found   int // how many of their rows are here
	missing int // a seq that is not, if any is not
	changes []Change
}

// gathering says how rows become groups.
type gathering struct {
	realms  []string // of changes that are kept
	bytes   int      // after which no further group is read; zero: all are
	gapless bool     // stop at the first tid, above after, that is missing
	after   int64
	back    bool // the rows come in the reverse order

	groups []group
	rows   int
	long   bool // it was stopped because of the bytes

	gap, gapEnd int64 // it was stopped because these tids are missing; zero if none are
}

// gather reads rows, in the order of their tids, to their end or to where what they say is
// not needed.
func gather(ctx context.Context, rows *sql.Rows, g gathering) (gathering, error) {
	defer rows.Close()
	bytes, step := 0, 1
	if g.back {
		step = -1
	}
	for rows.Next() {
		limit.Progress(ctx)
		c, size, err := scanChange(rows)
		if err != nil {
			return g, err
		}
		last := len(g.groups) - 1
		if last < 0 || g.groups[last].TID != c.TID {
			if g.gapless && c.TID > g.after+1 { // a snapshot can show a later commit without the earlier one
				g.gap, g.gapEnd = g.after+1, c.TID-1
				return g, limit.Drain(ctx, rows)
			}
			if g.bytes > 0 && bytes > g.bytes {
				g.long = true
				return g, limit.Drain(ctx, rows)
			}
			g.after = max(g.after, c.TID)
			t := group{Place: Place{c.TID, c.CommitID}, size: size}
			if g.back {
				t.missing = size - 1
			}
			g.groups = append(g.groups, t)
			last++
		}
		g.rows++
		bytes += len(c.Document) + len(c.Comment)
		t := &g.groups[last]
		if t.found++; c.Seq == t.missing {
			t.missing += step
		}
		if slices.Contains(g.realms, c.Realm) {
			t.changes = append(t.changes, c)
		}
	}
	if err := rows.Err(); err != nil {
		return g, err
	}
	return g, rows.Close()
}

// all returns the changes of a transaction, with one in the place of a row that is missing,
// which may have been of any realm.
func (t group) all(realms []string) []Change {
	if t.found >= t.size || len(realms) == 0 {
		return t.changes
	}
	c := Change{TID: t.TID, Seq: t.missing, CommitID: t.CommitID, Realm: realms[0]}
	if len(t.changes) > 0 {
		c.Origin, c.Realm = t.changes[0].Origin, t.changes[0].Realm
	}
	c.Damage = fmt.Errorf("the transaction has %d of its %d rows", t.found, t.size)
	at := slices.IndexFunc(t.changes, func(c Change) bool { return c.Seq > t.missing })
	if at < 0 {
		at = len(t.changes)
	}
	return slices.Insert(t.changes, at, c)
}

// scanChange reads a change, and how many its transaction has. SQLite's columns can hold
// what does not fit their type: that is Damage.
func scanChange(rows *sql.Rows) (c Change, size int, err error) {
	var env, document sql.NullString
	err = rows.Scan(&c.TID, &c.Seq, &size, &c.CommitID, &c.Origin, &c.Realm, &c.ID, &c.Kind, &c.Time, &c.Author, &c.IPNR, &c.Authenticated, &env, &c.Comment, &c.Attrs, &document)
	c.Env, c.Document = env.String, document.String
	if err != nil {
		damaged := Change{Damage: err}
		var rest [10]any
		all := []any{&damaged.TID, &damaged.Seq, &size, &damaged.CommitID, &damaged.Origin, &damaged.Realm}
		for i := range rest {
			all = append(all, &rest[i])
		}
		if rows.Scan(all...) == nil {
			return damaged, size, nil
		}
	}
	return c, size, err
}

// complete leaves out the last transaction, of which rows may be missing because so many
// were asked for. If it is the only one, it reads all of them.
func (s *Store) complete(ctx context.Context, q SQL, groups []group, realms []string) ([]group, error) {
	if last := len(groups) - 1; last > 0 {
		return groups[:last], nil
	}
	t, err := s.transaction(ctx, q, groups[0].Place, realms)
	return []group{t}, err
}

// transaction reads all rows of one transaction. It returns ErrPruned or ErrRewound,
// wrapped, if that is gone.
func (s *Store) transaction(ctx context.Context, q SQL, p Place, realms []string) (t group, err error) {
	rows, err := q.QueryContext(ctx, s.SQL(selectChanges+fromChanges+"WHERE tid = ? ORDER BY seq"), p.TID)
	if err != nil {
		return group{}, err
	}
	g, err := gather(ctx, rows, gathering{realms: realms})
	switch {
	case err != nil:
		return group{}, err
	case len(g.groups) == 0:
		if floor, err := s.PrunedTo(ctx, q); err != nil || floor == p.TID { // it may have been read in part
			return group{}, cmp.Or(err, fmt.Errorf("%w: with tid %d", ErrPruned, p.TID))
		}
		return group{}, cmp.Or(s.gone(ctx, q, p), ErrRewound)
	case p.CommitID != "" && g.groups[0].CommitID != p.CommitID:
		return group{}, fmt.Errorf("%w: tid %d has the commit id %s, and not %s", ErrRewound, p.TID, g.groups[0].CommitID, p.CommitID)
	}
	return g.groups[0], nil
}
