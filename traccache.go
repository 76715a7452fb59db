package tracbus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// What a running Trac keeps in memory, by the keys it has for it: the names of
// all pages, and what stands in the page InterMapTxt. It looks into the table
// cache, at the beginning of each request, whether their generations moved
// (trac/cache.py, the same from Trac 1.0 to 1.6).
const (
	tracPagesCache     = "trac.wiki.api.WikiSystem.pages"
	tracInterWikiCache = "trac.wiki.interwiki.InterWikiMap.interwiki_map"
)

// invalidateTracCache makes every Trac on this database read anew, from the
// commit on, what it keeps for key. The row stays locked until then, as it does
// when Trac invalidates. A database without the table has no Trac.
func invalidateTracCache(ctx context.Context, tx *ModelTransaction, key string) error {
	if ok, err := hasTracTable(ctx, tx, "cache"); !ok || err != nil {
		return err
	}
	// One statement: of two that come to a key first, one inserts and the other
	// waits and then counts on.
	upsert := `INSERT INTO {cache} AS c (id, generation, "key") VALUES (?, 0, ?)
		ON CONFLICT (id) DO UPDATE SET generation = c.generation + 1`
	if tx.Dialect() == MySQL {
		upsert = `INSERT INTO {cache} (id, generation, "key") VALUES (?, 0, ?)
			ON DUPLICATE KEY UPDATE generation = generation + 1`
	}
	if _, err := tx.exec(ctx, upsert, tracCacheID(key), key); err != nil {
		return fmt.Errorf("invalidate Trac's cache %s: %w", key, err)
	}
	return nil
}

// tracCacheID returns the number that Trac gives to a key (key_to_id): the
// string hash of Python 2, in 31 bits.
func tracCacheID(key string) int64 {
	var id int64
	for i, c := range []rune(key) {
		if i == 0 {
			id = int64(c) << 7
		}
		id = id*1000003&0x7fffffff ^ int64(c)
	}
	return id ^ int64(len([]rune(key)))
}

// hasTracTable says whether the database has a table. A statement that fails
// would be the end of a transaction on PostgreSQL, so it asks the catalogue.
func hasTracTable(ctx context.Context, tx *ModelTransaction, name string) (ok bool, err error) {
	switch tx.Dialect() {
	case PostgreSQL:
		err = tx.queryRow(ctx, `SELECT to_regclass('{`+name+`}') IS NOT NULL`).Scan(&ok)
	case SQLite:
		err = tx.queryRow(ctx, `SELECT COUNT(*) > 0 FROM pragma_table_info('{`+name+`}')`).Scan(&ok)
	case MySQL: // where such a statement does no harm
		var none int
		err = tx.queryRow(ctx, `SELECT COUNT(*) FROM {`+name+`} WHERE 1 = 0`).Scan(&none)
		if ok = err == nil; mysqlNumber(err) == noSuchTable {
			err = nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("look for Trac's table %s: %w", name, err)
	}
	return ok, nil
}

// orConflict returns an error as ErrConflict where it says that a row with the
// same key exists: Trac locks nothing that this library could wait for. On
// SQLite, where one transaction writes at a time, it cannot come to that.
func orConflict(err error) error {
	var pg interface{ SQLState() string } // of pgx and lib/pq
	if errors.As(err, &pg) && pg.SQLState() == "23505" || mysqlNumber(err) == duplicateEntry {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// Errors of MySQL, by their numbers.
const (
	duplicateEntry = 1062
	noSuchTable    = 1146
)

// mysqlNumber returns the Number of a *mysql.MySQLError, which has no method
// that would tell it to those who do not import the driver.
func mysqlNumber(err error) uint64 {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct || v.Type().Name() != "MySQLError" {
			continue
		}
		if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
			return n.Uint()
		}
	}
	return 0
}
