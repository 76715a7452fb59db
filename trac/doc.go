// Package trac reads and writes Trac's own tables, as Trac 1.0 to 1.6 does: a
// Trac on the same database shows what this package writes, and the other way
// round. Each change is a [tracbus.Model] that a transaction of the journal
// saves or deletes:
//
//	j.Update(ctx, who, func(tx *tracbus.ModelTransaction) error {
//		return tx.Save(ctx, trac.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}})
//	})
//
// Tickets are in the tables ticket, ticket_custom and ticket_change:
// [TicketCreate], [TicketEdit], [CommentEdit] and [ChangeDelete] change them, and [LoadTicket]
// reads them. Pages are in the table wiki: [PageEdit], [PageRename],
// [PageVersionDelete] and [PageCommentEdit] change them, and [LoadPage],
// [LoadPageVersions] and [LoadPageNames] read them. Milestones, components and
// versions of the product are in tables of these names: [MilestoneEdit],
// [ComponentEdit] and [VersionEdit] change them, and the tickets that name them. Their
// events, and those of attachments, are in package realms. The tables must be in the
// schema of the journal. Where the versions of Trac differ in what they write,
// this package does as 1.4 and 1.6 do.
//
// A Trac that runs on the same database learns of new, renamed and deleted
// pages, and of changed milestones, components and versions, because its caches are
// invalidated, and of tickets, because it does not cache them. What Trac itself
// writes reaches the journal with [Capture], and only then.
//
// # Errors
//
// An edit that was made from an older state fails with [tracbus.ErrConflict], and
// one of a ticket, page, version or comment that does not exist with
// [tracbus.ErrNotFound]; one of a comment whose number another one has too, with
// [ErrAmbiguousComment]. An invalid page name is a [tracbus.ErrInvalidPageName],
// the name of another page an [ErrPageExists], and that of another milestone,
// component or version an [ErrNameExists]. Other errors are the database's, or say
// which value was expected. As with every Model, an error poisons the transaction.
//
// # Concurrency
//
// A value of these types belongs to one transaction, and so to one goroutine, at
// a time. Two transactions that change the same ticket or page wait for each
// other; so do those that create, rename or delete pages. See [PageEdit] for how
// a transaction that changes several pages avoids a deadlock.
package trac
