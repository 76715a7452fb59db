package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
	"github.com/tracbus/tracbus/internal/sqltext"
)

// otherJournals asks for the schemas of the other journals in a PostgreSQL database, as
// far as this role may read them, and whether each was made before this one.
const otherJournals = `SELECT quote_ident(n.nspname), c.oid < (SELECT o.oid FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
	WHERE m.nspname = ? AND o.relname = 'journal_facts')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'lock_class' AND NOT a.attisdropped AND a.atttypid = CAST('integer' AS regtype)
WHERE c.relname = 'journal_facts' AND c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> ?
  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')`

// other is another journal in the database.
type other struct {
	name  string // of its schema, quoted
	older bool   // than this one
	class int64  // 0 without a row, or if it cannot be read
}

const (
	classesAtOnce = 100
	classesTries  = 3
	classesLock   = "SELECT set_config('lock_timeout', '500ms', true)"
)

// otherClasses reads the lock_class of every other journal, many in one statement. One of
// them may go meanwhile, or be locked by a migration of its own: then it lists them again.
// If that does not help, those that can be read with no more than a short wait are read one
// by one, and the others are left out: what somebody does to another journal must not keep
// this one from being opened, and a copy is refused at the next opening all the same.
func (s *Store) otherClasses(ctx context.Context) (others []other, err error) {
	for range classesTries {
		if others, err = s.listOthers(ctx); err != nil {
			return nil, err
		}
		for some := range slices.Chunk(others, classesAtOnce) {
			if err = s.readClasses(ctx, some); err != nil {
				break
			}
		}
		if !sqltext.IsUnreadable(err) {
			return others, err
		}
	}
	for i := range others {
		if err := s.readClasses(ctx, others[i:i+1]); err != nil && !sqltext.IsUnreadable(err) {
			return nil, err
		}
	}
	return others, nil
}

func (s *Store) listOthers(ctx context.Context) (others []other, err error) {
	rows, err := s.db.QueryContext(ctx, s.SQL(otherJournals), s.schema, s.schema)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var o other
		if err := rows.Scan(&o.name, &o.older); err != nil {
			return nil, err
		}
		others = append(others, o)
	}
	limit.Progress(ctx)
	return others, errors.Join(rows.Err(), rows.Close())
}

// readClasses reads those of some journals, and waits for a lock only shortly.
func (s *Store) readClasses(ctx context.Context, some []other) error {
	parts := make([]string, len(some))
	for i, o := range some {
		parts[i] = fmt.Sprintf("SELECT %d, coalesce(max(lock_class), 0) FROM %s.journal_facts", i, o.name)
	}
	conn, err := s.Begin(ctx)
	if err != nil {
		return err
	}
	defer conn.Rollback()
	if err := limit.Ask(ctx, conn, classesLock); err != nil {
		return err
	}
	rows, err := conn.QueryContext(ctx, strings.Join(parts, " UNION ALL "))
	if err != nil {
		return fmt.Errorf("read the lock_class of other journals: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var i int
		var class int64
		if err := rows.Scan(&i, &class); err != nil {
			return err
		}
		some[i].class = class
	}
	limit.Progress(ctx)
	return errors.Join(rows.Err(), rows.Close())
}

// checkCopy refuses a schema that was copied from another one of the same database:
// both have one lock class, and each would hold back what the other delivers. The one
// that was made first may be opened: a copy that nobody uses does it no harm.
func (s *Store) checkCopy(ctx context.Context) error {
	others, err := s.otherClasses(ctx)
	if err != nil {
		return err
	}
	original := ""
	taken := map[int64]bool{s.class: true}
	for _, o := range others {
		if taken[o.class] = true; o.class == s.class && o.older {
			original = o.name
		}
	}
	if original == "" {
		return nil
	}
	free := s.class%32766 + 1
	for taken[free] {
		free = free%32766 + 1
	}
	return fmt.Errorf("%w: the journal in schema %q is a copy of that in schema %s, with its lock_class and uuid: each would hold back what the other delivers. "+
		"Stop every process that uses this one, and run: %s", ErrUnsupported, s.schema, original,
		s.SQL(fmt.Sprintf("UPDATE {journal_facts} SET lock_class = %d, uuid = gen_random_uuid()::text", free)))
}
