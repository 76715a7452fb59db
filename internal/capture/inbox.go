package capture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// SQL runs statements.
type SQL interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Inbox is what others have written and the journal does not have yet. Its methods may be called
// concurrently.
type Inbox struct {
	spec    Spec
	tables  []Table // of the realms
	dialect *sqltext.Dialect
	words   *words
	schema  string
	channel string // of notifications; empty: there are none
}

// Of returns the inbox of a schema, as far as it is about these realms. channel is for notifications,
// if the database has them and they are wanted.
func Of(spec Spec, dialect, schema string, realms []string, channel string) *Inbox {
	in := &Inbox{spec: spec, tables: spec.of(realms), dialect: sqltext.Of(dialect), words: dialects[dialect], schema: schema}
	if spec.Notify && dialect == "postgresql" {
		in.channel = channel
	}
	return in
}

func (in *Inbox) text(text string) string { return in.dialect.Write(in.schema, text) }

// Has says whether changes of a realm come by the inbox.
func (in *Inbox) Has(realm string) bool {
	return slices.ContainsFunc(in.tables, func(t Table) bool { return t.Realm == realm })
}

// Exists says whether a schema has an inbox, as far as this user may know.
func Exists(ctx context.Context, q SQL, dialect, schema string) (ok bool, err error) {
	d := sqltext.Of(dialect)
	if dialect == "mysql" { // which denies a right to what is not there too
		err = limit.QueryRow(ctx, q, "SELECT count(*) > 0 FROM information_schema.tables WHERE table_schema = ? AND table_name = 'journal_inbox'", schema).Scan(&ok)
	} else {
		err = limit.QueryRow(ctx, q, d.Write(schema, strings.ReplaceAll(d.HasTable, "TABLE", "journal_inbox"))).Scan(&ok)
	}
	return ok, err
}

// Resource is what a row is about.
type Resource struct{ Realm, ID string }

// looked is how many rows are looked at for resources.
const looked = 1000

// Waiting returns resources that rows are about: those of the oldest, and of as many as it takes to
// find one that does not rest, so that those that rest keep nobody waiting.
func (in *Inbox) Waiting(ctx context.Context, q SQL, rests func(Resource) bool) (all []Resource, err error) {
	seen := map[Resource]bool{}
	for after := int64(math.MinInt64); ; {
		n := 0
		some, last, err := in.waiting(ctx, q, after, &n)
		if err != nil {
			return nil, err
		}
		found := false
		for _, r := range some {
			if !seen[r] {
				seen[r], found = true, found || !rests(r)
				all = append(all, r)
			}
		}
		if found || n < looked {
			return all, nil
		}
		limit.Progress(ctx)
		after = last
	}
}

// waiting returns what the n rows are about that come after a number, and the number of the last.
func (in *Inbox) waiting(ctx context.Context, q SQL, after int64, n *int) (all []Resource, last int64, err error) {
	codes, args := in.codes()
	rows, err := q.QueryContext(ctx, in.text("SELECT n, tbl, id FROM {journal_inbox} WHERE n > ? AND tbl IN "+codes+" ORDER BY n LIMIT "+strconv.Itoa(looked)), append([]any{after}, args...)...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for ; rows.Next(); *n++ {
		var code, id string
		if err := rows.Scan(&last, &code, &id); err != nil {
			return nil, 0, err
		}
		if r := (Resource{in.spec.realmOf(code), id}); len(all) == 0 || all[len(all)-1] != r {
			all = append(all, r)
		}
	}
	return all, last, errors.Join(rows.Err(), rows.Close())
}

func (in *Inbox) codes() (list string, args []any) {
	for _, t := range in.tables {
		args = append(args, t.Code)
	}
	return marks(len(args)), args
}

func marks(n int) string { return "(?" + strings.Repeat(", ?", max(n-1, 0)) + ")" }

// Read returns the rows about a resource, and about those that share rows with it because they
// were moved to or from it, in their order. lock is called with each of those before their rows
// are read. If latest is not nil, it returns those that are committed now, also to a transaction that
// shows what was when it began: latest are other connections to the database.
func (in *Inbox) Read(ctx context.Context, q SQL, r Resource, latest *sql.DB, lock func(Resource) error) (rows []Row, err error) {
	ids := []string{r.ID}
	for i := 0; i < len(ids); i++ {
		if i > 0 {
			if err := lock(Resource{r.Realm, ids[i]}); err != nil {
				return nil, err
			}
		}
		some, err := in.rows(ctx, q, Resource{r.Realm, ids[i]}, latest)
		if err != nil {
			return nil, err
		}
		for _, row := range some {
			if row.Field != IDField {
				continue
			}
			for _, id := range []*string{row.Old, row.New} {
				if id != nil && !slices.Contains(ids, *id) {
					ids = append(ids, *id)
				}
			}
		}
		rows = append(rows, some...)
	}
	slices.SortFunc(rows, func(a, b Row) int { return int(min(max(a.N-b.N, -1), 1)) })
	return rows, nil
}

// numbers returns those of the rows about a resource.
func (in *Inbox) numbers(ctx context.Context, q SQL, r Resource) (all []any, err error) {
	codes := in.spec.codes(r.Realm)
	rows, err := q.QueryContext(ctx, in.text("SELECT n FROM {journal_inbox} WHERE id = ? AND tbl IN "+marks(len(codes))), append([]any{r.ID}, codes...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// latest returns a condition on the rows about a resource that are committed now, or were written by
// q's transaction. On MySQL under REPEATABLE READ, to look for them with FOR UPDATE locks what
// is between rows too, and then Trac waits for q's transaction to write anything at all. To lock rows by their
// numbers does not. Without a free connection it is done the other way.
func (in *Inbox) latest(ctx context.Context, q SQL, r Resource, db *sql.DB) (where string, args []any, err error) {
	codes := in.spec.codes(r.Realm)
	where, args = "id = ? AND tbl IN "+marks(len(codes)), append([]any{r.ID}, codes...)
	if in.words != dialects["mysql"] { // a row that a snapshot does not show is refused there when it is locked
		return where, args, nil
	}
	if pool := db.Stats(); pool.MaxOpenConnections > 0 && pool.InUse >= pool.MaxOpenConnections {
		return where + " {FOR UPDATE}", args, nil
	}
	committed, err := in.numbers(ctx, db, r)
	if err != nil {
		return "", nil, err
	}
	own, err := in.numbers(ctx, q, r)
	if err != nil {
		return "", nil, err
	}
	for _, n := range own {
		if !slices.Contains(committed, n) {
			committed = append(committed, n)
		}
	}
	if len(committed) == 0 {
		return "FALSE", nil, nil
	}
	return "n IN " + marks(len(committed)) + " {FOR UPDATE}", committed, nil
}

func (in *Inbox) rows(ctx context.Context, q SQL, r Resource, latest *sql.DB) (all []Row, err error) {
	codes := in.spec.codes(r.Realm)
	where, args := "id = ? AND tbl IN "+marks(len(codes)), append([]any{r.ID}, codes...)
	if latest != nil {
		if where, args, err = in.latest(ctx, q, r, latest); err != nil {
			return nil, err
		}
	}
	stamp := "stamp"
	if in.words.stamp == "" {
		stamp = "CAST(extract(epoch FROM stamp) * 1000000 AS bigint)"
	}
	run := "0"
	if in.words.run != "" {
		run = "run - n"
	}
	text := "SELECT n, tbl, op, id, at, field, author, old, new, " + stamp + ", " + run + " FROM {journal_inbox} WHERE " + where
	rows, err := q.QueryContext(ctx, in.text(text), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var row Row
		var field sql.NullString
		var micros int64
		if err := rows.Scan(&row.N, &row.Code, &row.Op, &row.ID, &row.At, &field, &row.Author, &row.Old, &row.New, &micros, &row.Run); err != nil {
			return nil, err
		}
		row.Field, row.Stamp = field.String, time.UnixMicro(micros).UTC()
		all = append(all, row)
	}
	limit.Progress(ctx)
	return all, errors.Join(rows.Err(), rows.Close())
}

// Same says whether two readings of a resource are of the same rows.
func Same(a, b []Row) bool {
	return slices.EqualFunc(a, b, func(a, b Row) bool { return a.N == b.N })
}

// Locks says whether who writes a resource of a realm locks its row first.
func (in *Inbox) Locks(realm string) bool {
	return slices.ContainsFunc(in.tables, func(t Table) bool { return t.Realm == realm && t.Locked })
}

// Any says whether there are rows about a resource.
func (in *Inbox) Any(ctx context.Context, q SQL, r Resource) (any bool, err error) {
	codes := in.spec.codes(r.Realm)
	err = limit.QueryRow(ctx, q, in.text("SELECT count(*) > 0 FROM {journal_inbox} WHERE id = ? AND tbl IN "+marks(len(codes))), append([]interface{}{r.ID}, codes...)...).Scan(&any)
	return any, err
}

// ErrTaken says that somebody else has taken rows that were read.
var ErrTaken = errors.New("rows of the inbox were taken in by another process meanwhile")

// most is of how many rows one statement is.
const most = 500

// Take deletes those of the rows that have certain numbers, and no others: what was committed
// meanwhile may have lower ones.
func (in *Inbox) Take(ctx context.Context, q SQL, rows []Row, numbers []int64) error {
	if in.words != dialects["postgresql"] {
		return in.take(ctx, q, "", nil, numbers)
	}
	// There n has no index, which each INSERT would have to keep: it would look at all that waits.
	of := make(map[int64]string, len(rows))
	for _, r := range rows {
		of[r.N] = r.ID
	}
	ids := map[string][]int64{}
	for _, n := range numbers {
		ids[of[n]] = append(ids[of[n]], n)
	}
	for id, some := range ids {
		if err := in.take(ctx, q, "id = ? AND ", []any{id}, some); err != nil {
			return err
		}
	}
	return nil
}

func (in *Inbox) take(ctx context.Context, q SQL, where string, first []any, numbers []int64) error {
	for some := range slices.Chunk(numbers, most) {
		args := slices.Clone(first)
		for _, n := range some {
			args = append(args, n)
		}
		result, err := q.ExecContext(ctx, in.text("DELETE FROM {journal_inbox} WHERE "+where+"n IN "+marks(len(some))), args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n != int64(len(some)) {
			return errors.Join(ErrTaken, err)
		}
		limit.Progress(ctx)
	}
	return nil
}

// Hold locks the row of a resource, if it has one that who writes it locks first: then nobody
// else changes the resource until q's transaction ends.
func (in *Inbox) Hold(ctx context.Context, q SQL, r Resource) error {
	for _, t := range in.tables {
		if t.Realm != r.Realm || !t.Locked || in.dialect.LockRows == "" {
			continue
		}
		var id any = r.ID
		if slices.Contains(t.Numbers, t.ID[0]) {
			n, err := strconv.ParseInt(r.ID, 10, 32)
			if err != nil { // there is none
				return nil
			}
			id = n
		}
		return limit.Ask(ctx, q, in.text(`SELECT 1 FROM {`+t.Name+`} WHERE "`+t.ID[0]+`" = ? {FOR UPDATE}`), id)
	}
	return nil
}

// Own says that what q's transaction writes from now on is the library's own. The transaction is
// one that the application began: the library's own transactions are known by other means.
// Disown ends that, before the commit; a rollback does so too. token is random.
func (in *Inbox) Own(ctx context.Context, q SQL, token string) (err error) {
	switch in.words {
	case dialects["sqlite"]:
		_, err = q.ExecContext(ctx, "UPDATE journal_capture SET own = 1")
	case dialects["postgresql"]:
		_, err = q.ExecContext(ctx, "SELECT set_config('tracbus.own', '1', true)")
	default:
		if _, err = q.ExecContext(ctx, in.text("INSERT INTO {journal_own} VALUES (?)"), token); err == nil {
			_, err = q.ExecContext(ctx, "SET @tracbus_own = ?", token)
		}
	}
	if err != nil {
		return fmt.Errorf("say that what follows is the library's own: %w", err)
	}
	return nil
}

// Disown is the end of what Own began.
func (in *Inbox) Disown(ctx context.Context, q SQL, token string) (err error) {
	switch in.words {
	case dialects["sqlite"]:
		_, err = q.ExecContext(ctx, "UPDATE journal_capture SET own = 0")
	case dialects["postgresql"]:
		_, err = q.ExecContext(ctx, "SELECT set_config('tracbus.own', '', true)")
	default:
		if _, err = q.ExecContext(ctx, "SET @tracbus_own = NULL"); err == nil {
			_, err = q.ExecContext(ctx, in.text("DELETE FROM {journal_own} WHERE token = ?"), token)
		}
	}
	if err != nil {
		return fmt.Errorf("say that what follows is not the library's own: %w", err)
	}
	return nil
}

// Left takes away what Own left behind in a transaction that was committed without Disown, and says
// whether there was such a thing. What is visible here is committed.
func (in *Inbox) Left(ctx context.Context, q SQL) (left bool, err error) {
	switch in.words {
	case dialects["postgresql"]: // where it ends with the transaction
		return false, nil
	case dialects["sqlite"]:
		var own bool
		if err := limit.QueryRow(ctx, q, "SELECT own <> 0 FROM journal_capture").Scan(&own); err != nil || !own {
			return false, err
		}
		return in.changes(ctx, q, "UPDATE journal_capture SET own = 0 WHERE own <> 0")
	}
	for {
		var token string
		switch err := limit.QueryRow(ctx, q, in.text("SELECT token FROM {journal_own} LIMIT 1")).Scan(&token); {
		case errors.Is(err, sql.ErrNoRows):
			return left, nil
		case err != nil:
			return left, err
		}
		removed, err := in.changes(ctx, q, "DELETE FROM {journal_own} WHERE token = ?", token)
		if left = left || removed; err != nil {
			return left, err
		}
	}
}

// changes says whether a statement changed rows.
func (in *Inbox) changes(ctx context.Context, q SQL, text string, args ...any) (any bool, err error) {
	result, err := q.ExecContext(ctx, in.text(text), args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// Lease acquires or renews the right to take in what waits, which one holder has at a time, and
// says whether it was. Nothing goes wrong if two believe that they have it.
func (in *Inbox) Lease(ctx context.Context, q SQL, holder string, span time.Duration) (held bool, err error) {
	return in.changes(ctx, q, "UPDATE {journal_capture} SET holder = ?, expires = {NOW} + ? WHERE one = 1 AND (holder = ? OR holder = '' OR expires <= {NOW} OR expires > {NOW} + ?)",
		holder, span.Microseconds(), holder, 10*span.Microseconds())
}

// Release gives the right up.
func (in *Inbox) Release(ctx context.Context, q SQL, holder string) error {
	_, err := q.ExecContext(ctx, in.text("UPDATE {journal_capture} SET holder = '', expires = 0 WHERE one = 1 AND holder = ?"), holder)
	return err
}

// SchemaOf returns the schema that a connection uses.
func SchemaOf(ctx context.Context, q SQL, dialect string) (schema string, err error) {
	text := map[string]string{"sqlite": "SELECT ''", "postgresql": "SELECT coalesce(current_schema(), '')", "mysql": "SELECT coalesce(database(), '')"}[dialect]
	err = limit.QueryRow(ctx, q, text).Scan(&schema)
	return schema, err
}
