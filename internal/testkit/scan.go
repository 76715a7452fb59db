package testkit

import (
	"database/sql"
	"testing"
)

// Scan calls f for each row of a query, which it has scanned into fields.
func Scan(t testing.TB, db *sql.DB, query string, f func(), fields ...any) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(fields...); err != nil {
			t.Fatal(err)
		}
		f()
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
