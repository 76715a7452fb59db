package realms

import (
	"context"
	"time"

	"github.com/tracbus/tracbus"
)

// RealmMilestone is the realm of milestones.
const RealmMilestone tracbus.Realm = "milestone"

// Milestone is a milestone of the roadmap, a row of Trac's table milestone.
type Milestone struct {
	Name        string
	Due         time.Time // zero if there is no such date
	Completed   time.Time // zero if it is not completed
	Description string
}

// MilestoneCreated says that a milestone was created (Trac's milestone_created).
type MilestoneCreated struct {
	tracbus.Change
	Milestone Milestone
}

// MilestoneChanged says that a milestone was changed (Trac's milestone_changed).
// Its kind is [tracbus.KindChanged], or [tracbus.KindRenamed] if Old has another
// name: the resource is then the milestone under its new name.
type MilestoneChanged struct {
	tracbus.Change
	Milestone Milestone
	Old       Milestone // before the change
}

// MilestoneDeleted says that a milestone was deleted (Trac's milestone_deleted).
type MilestoneDeleted struct {
	tracbus.Change
	Milestone Milestone // as it was at last
}

// MilestoneListener is called with every change of a milestone, in the same way
// as a [tracbus.TicketListener].
type MilestoneListener interface {
	MilestoneCreated(context.Context, MilestoneCreated) error
	MilestoneChanged(context.Context, MilestoneChanged) error
	MilestoneDeleted(context.Context, MilestoneDeleted) error
}

// ListenToMilestones registers l for every change of a milestone, as
// [tracbus.Listen] does.
func ListenToMilestones(b *tracbus.Bus, scope tracbus.Scope, l MilestoneListener) *tracbus.Registration {
	return tracbus.Listen(b, scope, l, func(ctx context.Context, e event[Milestone]) error {
		switch e := e.(type) {
		case MilestoneCreated:
			return l.MilestoneCreated(ctx, e)
		case MilestoneChanged:
			return l.MilestoneChanged(ctx, e)
		case MilestoneDeleted:
			return l.MilestoneDeleted(ctx, e)
		}
		return nil
	})
}

// Milestones is the [tracbus.JournalRealm] of milestones.
type Milestones struct{}

// Realm returns [RealmMilestone].
func (Milestones) Realm() tracbus.Realm { return RealmMilestone }

// Event implements [tracbus.JournalRealm].
func (Milestones) Event(e tracbus.Entry) (tracbus.Event, error) { return milestones().event(e) }

func milestones() noun[Milestone] {
	return noun[Milestone]{
		realm: RealmMilestone, moved: tracbus.KindRenamed, naming: named,
		resource: func(m Milestone) tracbus.Resource { return MilestoneResource(m.Name) },
		fields: func(m Milestone) tracbus.Fields {
			return tracbus.Fields{
				nameField: m.Name, "due": timeField(m.Due), "completed": timeField(m.Completed), descriptionField: m.Description,
			}
		},
		read: func(r *reader) Milestone {
			return Milestone{r.text(nameField), r.time("due"), r.time("completed"), r.text(descriptionField)}
		},
		created: func(c tracbus.Change, m Milestone) tracbus.Event { return MilestoneCreated{c, m} },
		changed: func(c tracbus.Change, m, old Milestone) tracbus.Event { return MilestoneChanged{c, m, old} },
		deleted: func(c tracbus.Change, m Milestone) tracbus.Event { return MilestoneDeleted{c, m} },
	}
}

// MilestoneResource returns the milestone with a name as a [tracbus.Resource].
func MilestoneResource(name string) tracbus.Resource {
	return tracbus.Resource{Realm: RealmMilestone, ID: name}
}

func (e MilestoneCreated) both() (now, old Milestone) { return e.Milestone, e.Milestone }
func (e MilestoneChanged) both() (now, old Milestone) { return e.Milestone, e.Old }
func (e MilestoneDeleted) both() (now, old Milestone) { return e.Milestone, e.Milestone }

// Resource returns the milestone.
func (e MilestoneCreated) Resource() tracbus.Resource { return milestones().resource(e.Milestone) }

// Resource returns the milestone.
func (e MilestoneChanged) Resource() tracbus.Resource { return milestones().resource(e.Milestone) }

// Resource returns the milestone.
func (e MilestoneDeleted) Resource() tracbus.Resource { return milestones().resource(e.Milestone) }

// Kind returns [tracbus.KindCreated].
func (MilestoneCreated) Kind() tracbus.Kind { return tracbus.KindCreated }

// Kind returns [tracbus.KindChanged] or [tracbus.KindRenamed].
func (e MilestoneChanged) Kind() tracbus.Kind { return milestones().kind(e.both()) }

// Kind returns [tracbus.KindDeleted].
func (MilestoneDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

// WithChange implements [tracbus.Event].
func (e MilestoneCreated) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e MilestoneChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e MilestoneDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// Entry implements [tracbus.Recordable].
func (e MilestoneCreated) Entry() tracbus.Entry { return milestones().entry(e) }

// Entry implements [tracbus.Recordable].
func (e MilestoneChanged) Entry() tracbus.Entry { return milestones().entry(e) }

// Entry implements [tracbus.Recordable].
func (e MilestoneDeleted) Entry() tracbus.Entry { return milestones().entry(e) }

// Payload implements [tracbus.Payloader].
func (e MilestoneCreated) Payload() ([]byte, error) { return milestones().payload(e) }

// Payload implements [tracbus.Payloader].
func (e MilestoneChanged) Payload() ([]byte, error) { return milestones().payload(e) }

// Payload implements [tracbus.Payloader].
func (e MilestoneDeleted) Payload() ([]byte, error) { return milestones().payload(e) }

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (MilestoneCreated) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (MilestoneChanged) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (MilestoneDeleted) ExtraEvent() {}
