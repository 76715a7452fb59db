package sqltext

import (
	"errors"
	"reflect"
)

// IsDuplicate says whether an error means that a row with the same key exists.
// PostgreSQL and MySQL say so; on SQLite, where one transaction writes at a
// time, nobody needs to ask.
func IsDuplicate(err error) bool {
	var pg interface{ SQLState() string } // of pgx and lib/pq
	return errors.As(err, &pg) && pg.SQLState() == "23505" || mysqlNumber(err) == mysqlDuplicate
}

// IsNoTable says whether an error of MySQL means that a table does not exist.
func IsNoTable(err error) bool { return mysqlNumber(err) == mysqlNoTable }

// Errors of MySQL, by their numbers.
const (
	mysqlDuplicate = 1062 // ER_DUP_ENTRY
	mysqlNoTable   = 1146 // ER_NO_SUCH_TABLE
)

// mysqlNumber returns the Number of a *mysql.MySQLError, or 0. That type has no
// method that returns the number, and this package does not import the driver.
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
