package store

import "database/sql"

// Transaction is a row of journal_transaction.
type Transaction struct {
	TID      int64
	CommitID string
	Origin   string
	Realms   string // separated by commas
}

// Change is a row of <realm>_journal with its rows of <realm>_history.
type Change struct {
	TID int64
	Seq int

	// Origin and CommitID are of the transaction; they are read, not written.
	Origin, CommitID string

	Realm         string
	ID            string
	Kind          string
	Time          int64 // microseconds since 1970, UTC
	Author        string
	IPNR          string
	Authenticated bool
	Comment       string
	Attrs         int64
	State         string
	Fields        []Field

	// Damage says why the row could not be read, or that it is missing. Then
	// only TID, Seq, Origin, CommitID and Realm are filled in. It is read, not written.
	Damage error
}

// Field is a row of <realm>_history. A type that is null says that there is no
// value on this side.
type Field struct {
	Name     string
	Old, New Value
}

// Value is a value as a column holds it, and the type that it has.
type Value struct{ Type, Text sql.NullString }

// Place is a transaction that was seen: its tid, and its random commit id, by which
// it differs from another transaction with the same tid in another history of the
// database. An empty commit id is not known.
type Place struct {
	TID      int64
	CommitID string
}
