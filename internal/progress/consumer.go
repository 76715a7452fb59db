package progress

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/store"
)

// Cursor is how far a consumer's listener was called: after all of a transaction,
// or, if Partial is set, after its change Seq, which is not its last.
type Cursor struct {
	store.Place
	Seq     int // says nothing without Partial
	Partial bool
}

// columns returns the columns seq and partial.
func (c Cursor) columns() (seq, rest int) {
	if c.Partial {
		return c.Seq, 1
	}
	return -1, 0
}

// column returns one of the columns of a cursor.
func (c Cursor) column(name string) any {
	seq, rest := c.columns()
	return map[string]any{"tid": c.TID, "commit_id": c.CommitID, "seq": seq, "partial": rest}[name]
}

// Consumer is a durable consumer: how far it came, and who holds its lease. Times are
// by the database's clock, as of the reading.
type Consumer struct {
	Name             string
	Cursor           Cursor
	Token, Heartbeat int64  // rise with each lease, and with each statement of its holder
	Holder           string // empty: nobody
	Generation       int64  // of what the listener keeps outside; -1 at first

	Left time.Duration // until the lease ends; zero or less: anybody may acquire it
	Held time.Duration // since it was acquired; zero: nobody holds it

	Error   string        // of the last call; empty: it works
	Failing time.Duration // since when; zero: it works

	DeadLetters int // how many it has
}

// AtOnce is of how many consumers one statement may be: databases bound how many
// values it can have.
const AtOnce = 500

// AddConsumers adds the consumers of these names, which begin after a place. Those
// that are known stay as they are.
func (t *Tables) AddConsumers(ctx context.Context, at store.Place, names ...string) error {
	for some := range slices.Chunk(names, AtOnce) {
		text, args := insertConsumers(at, some)
		if _, err := t.store.Exec(ctx, text, args...); err != nil {
			return err
		}
	}
	return nil
}

// AddConsumersAtOldest adds the consumers of these names, which begin at the journal's
// oldest change. Whoever prunes meanwhile keeps that for them, or has them begin after
// what is pruned. Those that are known stay as they are.
func (t *Tables) AddConsumersAtOldest(ctx context.Context, names ...string) (err error) {
	defer t.within(&ctx, &err)()
	known, err := t.FindConsumers(ctx, names...)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name].Name != "" })
	if len(names) == 0 {
		return nil
	}
	return t.store.Transact(ctx, func(conn *store.Conn) error {
		if err := t.store.LockFloor(ctx, conn); err != nil {
			return err
		}
		floor, err := t.store.PrunedTo(ctx, conn)
		if err != nil {
			return err
		}
		for some := range slices.Chunk(names, AtOnce) {
			text, args := insertConsumers(store.Place{TID: floor}, some)
			if _, err := conn.ExecContext(ctx, t.store.SQL(text), args...); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertConsumers(at store.Place, names []string) (text string, args []any) {
	for _, name := range names {
		args = append(args, name, at.TID, at.CommitID)
	}
	rows := strings.TrimSuffix(strings.Repeat("(?, ?, ?, -1, 0, 0, 0, '', 0, 0, -1, 0, ''),\n", len(names)), ",\n")
	return "INSERT INTO {journal_consumer} (name, tid, commit_id, seq, partial, token, heartbeat, holder, leased_at, expires, generation, failing, error)\nVALUES " + rows + " {OR IS IT}", args
}

const selectConsumer = `SELECT o.name, o.tid, o.commit_id, o.seq, o.partial, o.token, o.heartbeat, o.holder, o.generation, o.leased_at, o.expires, o.failing, o.error, {NOW},
	(SELECT count(*) FROM {journal_dead_letter} a WHERE a.name = o.name)
FROM {journal_consumer} o`

// FindConsumer reads a consumer; found says whether the name is known.
func (t *Tables) FindConsumer(ctx context.Context, name string) (o Consumer, found bool, err error) {
	all, err := t.FindConsumers(ctx, name)
	o, found = all[name]
	return o, found, err
}

// FindConsumers reads the consumers of these names, as far as they are known.
func (t *Tables) FindConsumers(ctx context.Context, names ...string) (found map[string]Consumer, err error) {
	found = map[string]Consumer{}
	for some := range slices.Chunk(names, AtOnce) {
		list, args := in(some)
		all, err := t.consumers(ctx, selectConsumer+" WHERE o.name IN "+list, args...)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			found[o.Name] = o
		}
	}
	return found, nil
}

// Consumers reads all consumers, in the order of their names.
func (t *Tables) Consumers(ctx context.Context) ([]Consumer, error) {
	all, err := t.consumers(ctx, selectConsumer)
	slices.SortFunc(all, func(a, b Consumer) int { return cmp.Compare(a.Name, b.Name) }) // databases differ
	return all, err
}

func (t *Tables) consumers(ctx context.Context, text string, args ...any) (all []Consumer, err error) {
	defer t.store.Within(t.store.Limits().Answer, &ctx, &err)()
	rows, err := t.store.Query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var o Consumer
		var taken, expires, failing, now int64
		c := &o.Cursor
		err := rows.Scan(&o.Name, &c.TID, &c.CommitID, &c.Seq, &c.Partial, &o.Token, &o.Heartbeat, &o.Holder, &o.Generation, &taken, &expires, &failing, &o.Error, &now, &o.DeadLetters)
		if err != nil {
			return nil, err
		}
		if !c.Partial {
			c.Seq = 0
		}
		if o.Holder != "" {
			o.Left, o.Held = micros(expires-now), micros(now-taken)
		}
		if failing != 0 {
			o.Failing = micros(now - failing)
		}
		all = append(all, o)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// micros is a time that a clock put back could make absurd, but not overflow.
func micros(n int64) time.Duration {
	const most = int64(1<<63-1) / int64(time.Microsecond)
	return time.Duration(min(max(n, -most), most)) * time.Microsecond
}

// DropConsumer deletes a consumer, its cursor and its dead letters. Its holder is
// deposed.
func (t *Tables) DropConsumer(ctx context.Context, name string) (err error) {
	defer t.within(&ctx, &err)()
	return t.store.Transact(ctx, func(conn *store.Conn) error {
		for _, table := range []string{"consumer", "dead_letter"} { // the order of all who lock both
			if _, err := conn.ExecContext(ctx, t.store.SQL("DELETE FROM {journal_"+table+"} WHERE name = ?"), name); err != nil {
				return err
			}
		}
		return nil
	})
}

// SlowestConsumer returns the tid up to which every consumer is done with every
// change; found says whether there are consumers. A dead letter is not done, unless
// its change was pruned already. A tid below the floor is of a consumer whose next
// changes were pruned.
func (t *Tables) SlowestConsumer(ctx context.Context, q store.SQL) (tid int64, found bool, err error) {
	defer t.within(&ctx, &err)()
	var done, dead *int64 // null if there are none
	// A scalar subquery is null if MariaDB is told to KILL QUERY, without an error, as if
	// there were no consumer for whom to keep anything. A derived table is not.
	err = limit.QueryRow(ctx, q, t.store.SQL(`SELECT o.done, a.dead
	FROM (SELECT min(CASE WHEN partial = 1 THEN tid - 1 ELSE tid END) AS done FROM {journal_consumer}) o
	CROSS JOIN (SELECT min(d.tid) - 1 AS dead FROM {journal_dead_letter} d JOIN {journal_facts} f ON f.one = 1 AND d.tid > f.floor) a`)).Scan(&done, &dead)
	switch {
	case err != nil || done == nil:
		return 0, false, err
	case dead != nil:
		return min(*done, *dead), true, nil
	}
	return *done, true, nil
}

// exec runs one statement that writes, and says whether a row changed.
func (t *Tables) exec(ctx context.Context, text string, args ...any) (changed bool, err error) {
	n, err := t.store.Exec(ctx, text, args...)
	return n > 0, err
}

// in returns a list of names, and its values. The last is repeated up to a power of
// two: so few statements differ, and drivers need not prepare each.
func in(names []string) (list string, args []any) {
	for _, name := range names {
		args = append(args, name)
	}
	for n := len(args); n&(n-1) != 0; n++ {
		args = append(args, names[len(names)-1])
	}
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + ")", args
}

// storable makes a text for people one that all databases take, of at most so
// many bytes.
func storable(text string, most int) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

const (
	maxHolder = 200
	maxError  = 1000
)
