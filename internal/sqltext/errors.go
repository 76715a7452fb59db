package sqltext

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// IsDuplicate says whether an error means that a row with the same key exists.
// PostgreSQL and MySQL say so; on SQLite, on which one transaction writes at a
// time, nobody needs to ask.
func IsDuplicate(err error) bool {
	var pg interface{ SQLState() string } // of pgx and lib/pq
	return errors.As(err, &pg) && pg.SQLState() == "23505" || mysqlNumber(err) == mysqlDuplicate
}

// IsForeignText says whether MySQL cannot compare a text with a column whose character set
// does not have all of its characters: no row has that text.
func IsForeignText(err error) bool {
	return slices.Contains([]uint64{mysqlCollations, mysqlConvert}, mysqlNumber(err))
}

// IsUnstorable says whether MySQL cannot store a text in a column whose character set does
// not have all of its characters.
func IsUnstorable(err error) bool { return mysqlNumber(err) == mysqlWrongText }

// IsLongKey says whether PostgreSQL cannot store a text because it is too long for an index.
func IsLongKey(err error) bool {
	var pg interface{ SQLState() string }
	return errors.As(err, &pg) && pg.SQLState() == "54000"
}

// IsConflict says whether a transaction was rolled back for the sake of others, and can
// be repeated: it could not be serialized, or was in a deadlock.
func IsConflict(err error) bool {
	var pg interface{ SQLState() string }
	if errors.As(err, &pg) {
		return pg.SQLState() == "40001" || pg.SQLState() == "40P01"
	}
	return mysqlNumber(err) == mysqlDeadlock
}

// IsLockTimeout says whether a statement was given up because another transaction has locked
// what it needs, on PostgreSQL and MySQL.
func IsLockTimeout(err error) bool {
	var pg interface{ SQLState() string }
	return errors.As(err, &pg) && pg.SQLState() == "55P03" || mysqlNumber(err) == mysqlLockWait
}

// IsUnreadable says whether PostgreSQL could not read a table because it is not there, or
// without a column, or locked by somebody, or this role may not.
func IsUnreadable(err error) bool {
	var pg interface{ SQLState() string }
	return errors.As(err, &pg) && slices.Contains([]string{"42P01", "42703", "55P03", "42501"}, pg.SQLState())
}

// IsNoTable says whether an error of MySQL means that a table does not exist.
func IsNoTable(err error) bool { return mysqlNumber(err) == mysqlNoTable }

// IsBusy says whether SQLite refuses a statement because another connection
// writes, or, with a shared cache, reads. All drivers pass its message on.
func IsBusy(err error) bool {
	return err != nil && busy.MatchString(err.Error())
}

var busy = regexp.MustCompile(`database (table |schema )?is locked`)

// IsNoTransaction says whether SQLite refuses a ROLLBACK because the transaction
// has ended already.
func IsNoTransaction(err error) bool {
	return err != nil && strings.Contains(err.Error(), "no transaction is active")
}

// IsWithinTransaction says whether SQLite refuses a BEGIN because a transaction is
// open.
func IsWithinTransaction(err error) bool {
	return err != nil && strings.Contains(err.Error(), "within a transaction")
}

// IsForeignKey says whether SQLite refuses a statement, which may be COMMIT, because of a
// foreign key.
func IsForeignKey(err error) bool {
	return err != nil && strings.Contains(err.Error(), "FOREIGN KEY constraint failed")
}

// IsLocked says whether MySQL refuses to wait for a row that another transaction
// has locked.
func IsLocked(err error) bool {
	return slices.Contains([]uint64{mysqlLockWait, mysqlNoWait}, mysqlNumber(err))
}

// IsRefused says whether MySQL lets this user not write, or nobody.
func IsRefused(err error) bool {
	return slices.Contains([]uint64{mysqlDatabaseDenied, mysqlTableDenied, mysqlColumnDenied, mysqlDenied, mysqlReadOnlyServer, mysqlReadOnlySession, mysqlReadOnlyMode}, mysqlNumber(err))
}

// IsBehind says whether the procedure that takes a tid on MySQL has refused it.
func IsBehind(err error) bool { return mysqlNumber(err) == mysqlBehind }

// IsNoRoutine says whether an error of MySQL means that a procedure does not exist.
func IsNoRoutine(err error) bool { return mysqlNumber(err) == mysqlNoRoutine }

// PostgreSQLAnswered says whether an error is PostgreSQL's own word that a
// statement, which may be COMMIT, did nothing. An ERROR is, because the server
// ends as a whole rather than say that of a commit that it has written. What is
// graver can come after the commit; without a severity, the class tells.
func PostgreSQLAnswered(err error) bool {
	var state interface{ SQLState() string } // of pgx and lib/pq
	if !errors.As(err, &state) || len(state.SQLState()) != 5 {
		return false
	}
	severity := text(state, "SeverityUnlocalized") // pgx's; lib/pq has the other alone
	if severity == "" {
		severity = text(state, "Severity")
	}
	switch class := state.SQLState()[:2]; {
	case severity == "PANIC":
		return false
	case class == "57" || class == "58": // of who ends it, of the system
		return severity == "ERROR"
	default:
		return class != "08" // of the connection
	}
}

// text returns a field of a driver's error, or "".
func text(err any, field string) string {
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return ""
	}
	if f := v.FieldByName(field); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// MySQLAnswered is PostgreSQLAnswered for MySQL, whose driver go-sql-driver writes
// the server's number after this word.
func MySQLAnswered(err error) bool { return strings.HasPrefix(err.Error(), "Error ") }

// SQLiteAnswered returns false: SQLite is no server, so that the transaction itself
// can be asked.
func SQLiteAnswered(error) bool { return false }

// Errors of MySQL, by their numbers.
const (
	mysqlNoRoutine  = 1305  // ER_SP_DOES_NOT_EXIST
	mysqlNull       = 1048  // ER_BAD_NULL_ERROR
	mysqlDuplicate  = 1062  // ER_DUP_ENTRY
	mysqlNoTable    = 1146  // ER_NO_SUCH_TABLE
	mysqlLockWait   = 1205  // ER_LOCK_WAIT_TIMEOUT, MariaDB's word for NOWAIT too
	mysqlDeadlock   = 1213  // ER_LOCK_DEADLOCK
	mysqlNoWait     = 3572  // ER_LOCK_NOWAIT
	mysqlWrongText  = 1366  // ER_TRUNCATED_WRONG_VALUE_FOR_FIELD
	mysqlCollations = 1267  // ER_CANT_AGGREGATE_2COLLATIONS
	mysqlConvert    = 3854  // ER_CANNOT_CONVERT_STRING, of MySQL 8
	mysqlBehind     = 30062 // of journal_append itself

	mysqlDatabaseDenied  = 1044 // ER_DBACCESS_DENIED_ERROR
	mysqlTableDenied     = 1142 // ER_TABLEACCESS_DENIED_ERROR
	mysqlColumnDenied    = 1143 // ER_COLUMNACCESS_DENIED_ERROR
	mysqlDenied          = 1227 // ER_SPECIFIC_ACCESS_DENIED_ERROR
	mysqlReadOnlyServer  = 1290 // ER_OPTION_PREVENTS_STATEMENT
	mysqlReadOnlySession = 1792 // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
	mysqlReadOnlyMode    = 1836 // ER_READ_ONLY_MODE
)

// mysqlNumber returns the Number of a *mysql.MySQLError, or 0. That type has no
// method that returns the number, and this package does not import the driver.
func mysqlNumber(err error) uint64 {
	switch err := err.(type) {
	case nil:
		return 0
	case interface{ Unwrap() []error }:
		for _, one := range err.Unwrap() {
			if n := mysqlNumber(one); n != 0 {
				return n
			}
		}
		return 0
	}
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() == reflect.Struct && v.Type().Name() == "MySQLError" {
		if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
			return n.Uint()
		}
	}
	return mysqlNumber(errors.Unwrap(err))
}
