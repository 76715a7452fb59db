// Package realms has what Trac keeps beside tickets and pages: milestones,
// components, versions of the product, and attachments. Of each it has the
// events, a listener interface, and the [tracbus.JournalRealm] with which a
// journal keeps them:
//
//	bus := tracbus.NewBus("myenv")
//	realms.ListenToMilestones(bus, tracbus.Everywhere, roadmap)
//	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{
//		Dialect: tracbus.PostgreSQL,
//		Realms:  []tracbus.JournalRealm{trac.Tickets{}, tracbus.Pages{}, realms.Milestones{}, realms.Attachments{}},
//	})
//
// Package trac changes milestones, components and versions in Trac's tables. An
// application with tables of its own reports its changes with
// [tracbus.ModelTransaction.Record]. A plain function is registered with
// [tracbus.On] for one type of event.
//
// # Values
//
// Texts and times are what Trac itself reads: a text that is NULL in the table is
// "", and a time that is NULL or 0 is the zero time. Of a description, the event's
// Change.Null says more: [tracbus.AttrText] that it is NULL, and
// [tracbus.AttrOldText] that the one before was.
//
// Deleting a milestone, component or version, or giving it another name, changes
// tickets too. Those changes are events of tickets.
//
// # Redis
//
// A [tracbus.Publisher] publishes these events only if
// [tracbus.PublisherConfig].ExtraEvents is set, because the original plugin never
// had them; SkipRealms leaves out some. [Decode] makes events of such messages
// again. docs/channels.md has the channels and payloads.
package realms
