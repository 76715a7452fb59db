package contract

import (
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac/realms"
)

// Examples returns one event of each channel. They are the examples of the document, and
// where the search for what a payload can be begins: no field that a payload has is zero.
func Examples() []tracbus.Event {
	first := time.Date(2020, 1, 2, 3, 4, 5, 6000, time.UTC)
	later := time.Date(2020, 1, 2, 3, 5, 0, 0, time.UTC)
	joe := tracbus.Change{Env: "myenv", Time: later, Author: "joe", Comment: "Not in May."}
	ticket := tracbus.Fields{"summary": "Test ticket", "milestone": "1.0", "time": first, "changetime": later}
	page := tracbus.WikiPage{
		Name: "WikiStart", Version: 2, Text: "Page contents. More.", Readonly: true, Time: later, Author: "joe", Comment: "Editing page.",
	}
	task := tracbus.Resources("task").Of("5")
	open, done := tracbus.Fields{"title": "Buy milk", "done": false}, tracbus.Fields{"title": "Buy milk", "done": true}
	events := []tracbus.Event{
		tracbus.TicketCreated{Change: joe, ID: 17, Values: ticket},
		tracbus.TicketChanged{
			Change: joe, ID: 17, Values: ticket,
			New: tracbus.Fields{"milestone": "1.0"}, Old: tracbus.Fields{"milestone": ""},
		},
		tracbus.TicketDeleted{Change: joe, ID: 17, Values: ticket},
		tracbus.TicketCommentEdited{Change: joe, ID: 17, CommentTime: first, OldComment: "Not in my."},
		tracbus.TicketChangeDeleted{
			Change: joe, ID: 17, ChangeTime: first,
			New: tracbus.Fields{"milestone": "1.0"}, Old: tracbus.Fields{"milestone": ""},
		},
		tracbus.WikiPageCreated{Change: joe, Page: page},
		tracbus.WikiPageChanged{Change: joe, Page: page, OldText: "Page contents."},
		tracbus.WikiPageDeleted{Change: joe, Page: page},
		tracbus.WikiPageRenamed{Change: joe, Page: page, OldName: "SandBox"},
		tracbus.WikiPageVersionDeleted{Change: joe, Page: page},
		tracbus.WikiPageCommentEdited{Change: joe, Page: page, OldComment: "Editing."},
		tracbus.ResourceCreated{Change: joe, Of: task, Values: open},
		tracbus.ResourceChanged{Change: joe, Of: task, Values: done, New: tracbus.Fields{"done": true}, Old: tracbus.Fields{"done": false}},
		tracbus.ResourceDeleted{Change: joe, Of: task, Values: done},
	}
	return append(events, examplesOfRealms(joe, first)...)
}

func examplesOfRealms(joe tracbus.Change, first time.Time) []tracbus.Event {
	may, june := time.Date(2020, 5, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 6, 1, 0, 0, 0, 0, time.UTC)
	milestone := realms.Milestone{Name: "1.0", Due: may, Completed: june, Description: "First"}
	dueInJune, milestoneNamed := milestone, milestone
	dueInJune.Due, milestoneNamed.Name = june, "1.1"
	component := realms.Component{Name: "core", Owner: "ann", Description: "The middle"}
	ownedByBob, componentNamed := component, component
	ownedByBob.Owner, componentNamed.Name = "bob", "kernel"
	version := realms.Version{Name: "2.0", Time: may, Description: "Second"}
	inJune, versionNamed := version, version
	inJune.Time, versionNamed.Name = june, "2.1"
	attachment := realms.Attachment{
		Parent: tracbus.TicketResource(17), Filename: "crash.log", Size: 321, Time: first, Description: "Log", Author: "ann",
	}
	moved, described := attachment, attachment
	moved.Parent, described.Description = tracbus.PageResource("Sand/Box"), "The log"
	return []tracbus.Event{
		realms.MilestoneCreated{Change: joe, Milestone: milestone},
		realms.MilestoneChanged{Change: joe, Milestone: dueInJune, Old: milestone},
		realms.MilestoneChanged{Change: joe, Milestone: milestoneNamed, Old: milestone},
		realms.MilestoneDeleted{Change: joe, Milestone: milestone},
		realms.ComponentCreated{Change: joe, Component: component},
		realms.ComponentChanged{Change: joe, Component: ownedByBob, Old: component},
		realms.ComponentChanged{Change: joe, Component: componentNamed, Old: component},
		realms.ComponentDeleted{Change: joe, Component: component},
		realms.VersionCreated{Change: joe, Version: version},
		realms.VersionChanged{Change: joe, Version: inJune, Old: version},
		realms.VersionChanged{Change: joe, Version: versionNamed, Old: version},
		realms.VersionDeleted{Change: joe, Version: version},
		realms.AttachmentAdded{Change: joe, Attachment: attachment},
		realms.AttachmentChanged{Change: joe, Attachment: described, Old: attachment},
		realms.AttachmentChanged{Change: joe, Attachment: moved, Old: attachment},
		realms.AttachmentDeleted{Change: joe, Attachment: attachment},
	}
}
