package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/tracbus/tracbus/internal/limit"
)

// otherJournals asks for the schemas of the other journals in a PostgreSQL database, as
// far as this role may read them, and whether each was made before this one.
const otherJournals = `SELECT quote_ident(n.nspname), c.oid < (SELECT o.oid FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
	WHERE m.nspname = ? AND o.relname = 'journal_facts')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'lock_class' AND NOT a.attisdropped AND a.atttypid = CAST('integer' AS regtype)
WHERE c.relname = 'journal_facts' AND c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> ?
  AND has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')`

// checkCopy refuses a schema that was copied from another one of the same database:
// both have one lock class, and each would hold back what the other delivers. The one
// that was made first may be opened: a copy that nobody uses does it no harm.
func (s *Store) checkCopy(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, s.SQL(otherJournals), s.schema, s.schema)
	if err != nil {
		return err
	}
	defer rows.Close()
	var others []string
	older := map[string]bool{}
	for rows.Next() {
		var name string
		var before bool
		if err := rows.Scan(&name, &before); err != nil {
			return err
		}
		others, older[name] = append(others, name), before
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	original := ""
	taken := map[int64]bool{s.class: true}
	for _, name := range others {
		limit.Progress(ctx)
		var class int64 // 0 without a row
		if err := limit.QueryRow(ctx, s.db, "SELECT coalesce(max(lock_class), 0) FROM "+name+".journal_facts").Scan(&class); err != nil {
			return fmt.Errorf("read the lock_class of the journal in schema %s: %w", name, err)
		}
		if taken[class] = true; class == s.class && older[name] {
			original = name
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
