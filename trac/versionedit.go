package trac

import (
	"context"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/trac/internal/nameedit"
	"github.com/tracbus/tracbus/trac/realms"
)

// VersionEdit is a [tracbus.Model] that creates, changes, renames or deletes a
// version of the product in Trac's tables:
//
//	tx.Save(ctx, trac.VersionEdit{New: true, Name: "2.0", Time: new(released)})
//
// It has nothing to do with the versions of a page. The journal needs
// [realms.Versions] among its realms, and the realm of tickets. What a new name and
// deleting mean for tickets is as with a [ComponentEdit].
//
// As in Trac, spaces around and within a name become single ones.
type VersionEdit struct {
	// Name is the version's name.
	Name string

	// New creates the version. If there is one of that name, the error is
	// [ErrNameExists]. Without New, one that does not exist is
	// [tracbus.ErrNotFound].
	New bool

	// NewName is the name that the version gets. Empty means that it keeps its own.
	NewName string

	// Time and Description are the new values; the zero time is none. Nil means
	// that it stays as it is.
	Time        *time.Time
	Description *string

	// Comment says why, in the event: Trac stores no such comment.
	Comment string

	// Base is the version as the user saw it. If it was changed since, the error is
	// [tracbus.ErrConflict]. Nil means that this is not checked.
	Base *realms.Version
}

func (e VersionEdit) edit() nameedit.Edit {
	n := nameedit.Edit{
		Table: namedrow.Table{Name: string(realms.RealmVersion), Times: []string{"time"}, NullCreated: true},
		Name:  e.Name, NewName: e.NewName, New: e.New, Comment: e.Comment,
		Set: func(r *namedrow.Row) {
			setIf(&r.Times[0], e.Time)
			setIf(&r.Texts[0], e.Description)
		},
		Invalidate: func(ctx context.Context, tx *tracbus.ModelTransaction, _ bool) error {
			return invalidateTracCache(ctx, tx, tracFieldsCache)
		},
	}
	n.Renamed = renameInTickets(n.Table.Name)
	if b := e.Base; b != nil {
		n.Base = &namedrow.Row{Name: b.Name, Times: []time.Time{b.Time}, Texts: []string{b.Description}}
	}
	return n
}

func versionOf(r namedrow.Row) realms.Version {
	return realms.Version{Name: r.Name, Time: r.Times[0], Description: r.Texts[0]}
}

// Resource returns the version. It has no name if more than the version is to be
// locked, in an order of its own.
func (e VersionEdit) Resource() tracbus.Resource { return e.edit().Resource() }

// Save implements [tracbus.Model]. It writes what Trac does (Version.insert and
// update, Trac 1.6), and returns a [realms.VersionCreated] or
// [realms.VersionChanged].
func (e VersionEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	c, err := e.edit().Save(ctx, tx, tablesOf(tx))
	switch {
	case err != nil:
		return nil, err
	case c.Kind == tracbus.KindCreated:
		return realms.VersionCreated{Change: c.Change, Version: versionOf(c.Now)}, nil
	case c.Kind == tracbus.KindChanged:
		return realms.VersionChanged{Change: c.Change, Version: versionOf(c.Now), Old: versionOf(c.Old)}, nil
	}
	return nil, nil
}

// Delete implements [tracbus.Model] and returns a [realms.VersionDeleted]. New,
// NewName, Time and Description must be empty.
func (e VersionEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (event tracbus.Event, err error) {
	defer bounded(&ctx, &err)()
	c, err := e.edit().Delete(ctx, tx, tablesOf(tx), e.Time == nil && e.Description == nil)
	if err != nil {
		return nil, err
	}
	return realms.VersionDeleted{Change: c.Change, Version: versionOf(c.Now)}, nil
}
