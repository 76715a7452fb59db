package store

// Change is a row of journal_change.
type Change struct {
	TID int64
	Seq int

	// Origin and CommitID are of the transaction; they are read, not written, except an Origin
	// that is another than the transaction's.
	Origin, CommitID string

	Realm         string
	ID            string
	Kind          string
	Time          int64 // microseconds since 1970, UTC
	Author        string
	IPNR          string
	Authenticated bool
	Env           string // that the change names; "" if it names none
	Comment       string
	Attrs         int64
	Document      string // the fields that changed, and the state of those that did not

	// Damage says why the row could not be read, or that it is missing. Then
	// only TID, Seq, Origin, CommitID and Realm are filled in. It is read, not written.
	Damage error
}

// Place is a transaction that was seen: its tid, and its random commit id, by which
// it differs from another transaction with the same tid in another history of the
// database. An empty commit id is not known.
type Place struct {
	TID      int64
	CommitID string
}
