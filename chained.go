package tracbus

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus/internal/store"
)

// A chained listener is one that keeps, where it sends to, how far that has
// come. Under [Durable] it is told in the place of HandleBatch, so that what it
// sends is neither lost nor sent twice, whoever dies when.
type chained interface {
	BatchListener

	// handleChained hands on the events that lie behind c.before and reach to
	// c.end. It tries once, within ctx, and is never called twice at a time
	// for one journal and name by one process. It returns
	//
	//	nil         when all of it is done, and the sink stands at c.end
	//	*elsewhere  when the sink stands neither at c.before nor within the
	//	            batch: nothing of the batch was done
	//	another     when the sink is away, or an event cannot be sent there:
	//	            whoever calls repeats it after a pause
	//
	// What was done before it failed is remembered by the sink: a repetition,
	// with the same chain or one that is cut otherwise, goes on behind that.
	handleChained(ctx context.Context, c chain, events []Event) error
}

// chain says where a batch stands in the journal. Every event of the batch has
// TID, Seq and Mark.
type chain struct {
	journal string // the journal's UUID
	name    string // of the Once scope; with journal it is the key of what the sink keeps

	// The batch lies behind before, reaches to end, and has the changes of whole
	// transactions. It may be empty: then the sink only moves on to end.
	before, end store.Place

	// anew has the sink begin a new branch at before, if it still stands
	// exactly at expect. If it does not, the batch is done as if anew were
	// false: a repetition finds what the first try began.
	anew   bool
	expect standing
	branch int64 // the new branch, with anew: more than expect.branch, at most 65535
}

// standing is where a sink stands.
type standing struct {
	empty bool // it knows nothing of this journal and name
	place store.Place
	// branch counts how often the sink began anew. Of a sink that is empty it
	// is the highest that was ever used there, -1 if none was.
	branch int64
}

// elsewhere is the error of a sink that does not stand where the batch begins.
type elsewhere struct {
	standing

	// within says that the sink stands in the midst of the transaction at its
	// place, and that the batch has something else to do before, or instead.
	within bool
}

// Error says where the sink stands.
func (e *elsewhere) Error() string {
	switch {
	case e.empty:
		return "the listener's sink knows of no place in this journal"
	case e.within:
		return fmt.Sprintf("the listener's sink stands within tid %d, mark %s, branch %d", e.place.TID, e.place.CommitID, e.branch)
	}
	return fmt.Sprintf("the listener's sink stands at tid %d, mark %s, branch %d", e.place.TID, e.place.CommitID, e.branch)
}

// scopeChecker is a listener that does not serve under every scope. The bus
// asks it when it is registered, and panics with the error, which is a whole
// sentence.
type scopeChecker interface {
	// checkScope is also asked where the listener only embeds it.
	checkScope(scope Scope, listener any) error
}
