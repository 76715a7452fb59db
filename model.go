package tracbus

import "context"

// Model is a change of one resource, as [ModelTransaction.Save] and Delete take
// it: it knows how the resource's rows are read and written. Those of package trac
// write Trac's tables. An application with tables of its own implements Model for
// them, or writes its rows itself and reports the change with
// [ModelTransaction.Record].
//
// A Model is used by one transaction, and by one goroutine at a time.
type Model interface {
	// Resource returns what is changed. Its ID is empty where storing the
	// resource is what gives it one.
	Resource() Resource

	// Save reads the resource's rows under lock, writes what is different and
	// returns the event that tells of it: its Author, IPNR, Authenticated and
	// Time are those of tx and may be left out. nil, nil means that nothing is
	// different: then nothing may have been written.
	//
	// The transaction has locked the resource among all transactions of this
	// journal before the call, unless its ID is empty; against those who write
	// the rows without a journal, Save reads with FOR UPDATE where the database
	// has that.
	//
	// An error poisons the transaction. It wraps [ErrConflict] where somebody
	// else was faster.
	Save(ctx context.Context, tx *ModelTransaction) (Event, error)

	// Delete deletes the resource in the same manner.
	Delete(ctx context.Context, tx *ModelTransaction) (Event, error)
}
