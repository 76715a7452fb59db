package tracbus

import (
	"errors"

	"github.com/tracbus/tracbus/internal/store"
)

// What a journal returns, wrapped in an error that says where.
var (
	// ErrNotCommitted: the transaction was rolled back; nothing was stored and
	// nothing is delivered. Returned by Update, Commit and Outcome.
	ErrNotCommitted = errors.New("not committed")

	// ErrCommitUnknown: the database's answer to COMMIT was lost, and it could
	// not be asked since. If it was committed, it is delivered like any other.
	// Returned by Update, Commit and Outcome, within a [*CommitUnknownError].
	ErrCommitUnknown = errors.New("commit unknown")

	// ErrConflict: somebody else changed the resource meanwhile (Trac's mid-air
	// collision). Returned by Save and Delete, with ErrNotCommitted by Update.
	ErrConflict = errors.New("changed by somebody else meanwhile")

	// ErrNotFound: there is no such resource. Returned by Save and Delete, with
	// ErrNotCommitted by Update.
	ErrNotFound = errors.New("does not exist")

	// ErrPruned: changes after the place that was asked for are pruned.
	// Returned by Since and Resume, and the Err of a [Resync] with the reason
	// Pruned.
	ErrPruned = store.ErrPruned

	// ErrRewound: the database's history is not the one that was seen before;
	// it was restored from a backup, or a replica was promoted. Returned by
	// Resume, and the Err of a [Resync] with the reason Rewound.
	ErrRewound = store.ErrRewound

	// ErrSchema: the journal's tables are missing, or of a version that this
	// library does not know. Returned by OpenJournal.
	ErrSchema = store.ErrSchema

	// ErrUnsupportedDatabase: the database, or how it is set up, cannot give the guarantees.
	// Returned by OpenJournal, and in JournalStatus.Err.
	ErrUnsupportedDatabase = store.ErrUnsupported

	// ErrNeedsLoad is returned by a [LoadListener] that cannot work out its new
	// state from an event: it is loaded again. It is no failure.
	ErrNeedsLoad = errors.New("load anew")

	// ErrBusHasJournal is returned by [Bus.Notify] on a bus that belongs to a journal.
	ErrBusHasJournal = errors.New("the bus belongs to a journal")

	// ErrNoJournal is returned by [Bus.Notify] on a bus that has a listener with
	// the scope [Durable], to which only a journal can deliver.
	ErrNoJournal = errors.New("the bus has no journal")

	// ErrJournalClosed is returned by Begin, Join and Update after Close.
	ErrJournalClosed = errors.New("journal is closed")
)

// CommitUnknownError is what wraps [ErrCommitUnknown]: it has the transaction,
// which can be asked again.
type CommitUnknownError struct {
	Transaction *ModelTransaction // its Outcome asks what became of it
	Err         error             // why that is not known
}

// Error says why.
func (e *CommitUnknownError) Error() string { return ErrCommitUnknown.Error() + ": " + e.Err.Error() }

// Unwrap returns [ErrCommitUnknown] and Err.
func (e *CommitUnknownError) Unwrap() []error { return []error{ErrCommitUnknown, e.Err} }
