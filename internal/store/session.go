package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus/internal/limit"
)

// A session is the application's, which may set in it what bends results in silence.
// What can be seen at open is refused there. What is set later is refused by whoever
// appends, and reads do without it: see [sqltext.Dialect.Write].

// bentMySQL says which settings of a session bend what is written or read, empty if
// none does. ISOLATION is the variable's name, which depends on the version.
const bentMySQL = `concat_ws(', ',
if(@@autocommit, NULL, 'autocommit is OFF, and reads would show the same for ever, and statements not be committed: expected ON'),
if(@@character_set_client = 'utf8mb4', NULL, concat('character_set_client is ', @@character_set_client, ': expected utf8mb4')),
if(@@character_set_connection = 'utf8mb4', NULL, concat('character_set_connection is ', @@character_set_connection, ': expected utf8mb4')),
if(coalesce(@@character_set_results, 'utf8mb4') = 'utf8mb4', NULL, concat('character_set_results is ', @@character_set_results, ': expected utf8mb4')),
if(@@sql_select_limit < 18446744073709551615, concat('sql_select_limit is ', @@sql_select_limit, ', and reads would leave out the rest: expected none'), NULL),
if(find_in_set('STRICT_TRANS_TABLES', @@sql_mode) OR find_in_set('STRICT_ALL_TABLES', @@sql_mode), NULL, concat('sql_mode ', @@sql_mode, ' cuts what is too long: expected STRICT_TRANS_TABLES')),
if(find_in_set('EMPTY_STRING_IS_NULL', @@sql_mode), 'sql_mode has EMPTY_STRING_IS_NULL, which stores another value than the one given: expected none', NULL),
if(@@auto_increment_increment = 1, NULL, concat('auto_increment_increment is ', @@auto_increment_increment, ', and each commit would leave a gap that somebody has to close: expected 1')),
if(@@ISOLATION = 'READ-UNCOMMITTED', 'ISOLATION is READ-UNCOMMITTED, and reads would show what may be rolled back: expected READ-COMMITTED or stricter', NULL))`

// straightMySQL is true if bentMySQL is empty, but for sql_select_limit, which does not bend
// what a procedure does, and for autocommit; every append asks.
const straightMySQL = `@@character_set_client='utf8mb4' AND @@character_set_connection='utf8mb4' AND coalesce(@@character_set_results,'utf8mb4')='utf8mb4' ` +
	`AND @@sql_mode LIKE '%STRICT%' AND @@sql_mode NOT LIKE '%EMPTY_STRING%' AND @@auto_increment_increment=1 AND @@ISOLATION<>'READ-UNCOMMITTED'`

// bentPostgreSQL is bentMySQL for PostgreSQL.
const bentPostgreSQL = `CASE WHEN current_setting('client_encoding') NOT IN ('UTF8', 'SQL_ASCII') THEN 'client_encoding is ' || current_setting('client_encoding') || ': expected UTF8'
WHEN current_setting('default_transaction_deferrable') <> 'off' THEN 'default_transaction_deferrable is on, which marks the transactions of this library: expected off' ELSE '' END`

// bentSQLite is bentMySQL for SQLite.
const bentSQLite = `(SELECT CASE WHEN read_uncommitted = 1 THEN 'read_uncommitted is on, and with a shared cache reads would show what may be rolled back: expected off' ELSE '' END FROM pragma_read_uncommitted)`

// checkSession refuses a session that bends results. That of a joined transaction may be one
// without autocommit: the application commits.
func (s *Store) checkSession(ctx context.Context, q SQL) error {
	var how string
	bent := s.bent
	if _, own := q.(*Conn); !own && q != SQL(s.db) {
		bent = strings.Replace(bent, "@@autocommit", "TRUE", 1)
	}
	err := limit.QueryRow(ctx, q, s.SQL("SELECT "+bent)).Scan(&how)
	if err == nil && how != "" {
		err = fmt.Errorf("%w: %s", ErrUnsupported, how)
	}
	return err
}

// blame says that an error of append is for a setting of the session, if that is so.
// The connection is not given back to the pool: the setting would stay with it.
func (s *Store) blame(ctx context.Context, q SQL, err error) error {
	bent := s.checkSession(ctx, q)
	if bent == nil {
		return err
	}
	if c, own := q.(*Conn); own {
		c.spoiled = true
	}
	return fmt.Errorf("%w: %w", bent, err)
}
