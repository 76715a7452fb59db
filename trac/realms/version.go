package realms

import (
	"context"
	"time"

	"github.com/tracbus/tracbus"
)

// RealmVersion is the realm of versions.
const RealmVersion tracbus.Realm = "version"

// Version is a version of the product that tickets are about, a row of Trac's
// table version. It has nothing to do with the versions of a page.
type Version struct {
	Name        string
	Time        time.Time // of its release; zero if it is not known
	Description string
}

// VersionCreated says that a version was created. Trac has no listeners for
// versions.
type VersionCreated struct {
	tracbus.Change
	Version Version
}

// VersionChanged says that a version was changed. Its kind is
// [tracbus.KindChanged], or [tracbus.KindRenamed] if Old has another name: the
// resource is then the version under its new name.
type VersionChanged struct {
	tracbus.Change
	Version Version
	Old     Version // before the change
}

// VersionDeleted says that a version was deleted.
type VersionDeleted struct {
	tracbus.Change
	Version Version // as it was at last
}

// VersionListener is called with every change of a version, in the same way
// as a [tracbus.TicketListener].
type VersionListener interface {
	VersionCreated(context.Context, VersionCreated) error
	VersionChanged(context.Context, VersionChanged) error
	VersionDeleted(context.Context, VersionDeleted) error
}

// ListenToVersions registers l for every change of a version, as
// [tracbus.Listen] does.
func ListenToVersions(b *tracbus.Bus, scope tracbus.Scope, l VersionListener) *tracbus.Registration {
	return tracbus.Listen(b, scope, l, func(ctx context.Context, e event[Version]) error {
		switch e := e.(type) {
		case VersionCreated:
			return l.VersionCreated(ctx, e)
		case VersionChanged:
			return l.VersionChanged(ctx, e)
		case VersionDeleted:
			return l.VersionDeleted(ctx, e)
		}
		return nil
	})
}

// Versions is the [tracbus.JournalRealm] of versions.
type Versions struct{}

// Realm returns [RealmVersion].
func (Versions) Realm() tracbus.Realm { return RealmVersion }

// Event implements [tracbus.JournalRealm].
func (Versions) Event(e tracbus.Entry) (tracbus.Event, error) { return versions().event(e) }

func versions() noun[Version] {
	return noun[Version]{
		realm: RealmVersion, moved: tracbus.KindRenamed, naming: named,
		resource: func(t Version) tracbus.Resource { return VersionResource(t.Name) },
		fields: func(t Version) tracbus.Fields {
			return tracbus.Fields{nameField: t.Name, "time": timeField(t.Time), descriptionField: t.Description}
		},
		read: func(r *reader) Version {
			return Version{r.text(nameField), r.time("time"), r.text(descriptionField)}
		},
		created: func(c tracbus.Change, t Version) tracbus.Event { return VersionCreated{c, t} },
		changed: func(c tracbus.Change, t, old Version) tracbus.Event { return VersionChanged{c, t, old} },
		deleted: func(c tracbus.Change, t Version) tracbus.Event { return VersionDeleted{c, t} },
	}
}

// VersionResource returns the version with a name as a [tracbus.Resource].
func VersionResource(name string) tracbus.Resource {
	return tracbus.Resource{Realm: RealmVersion, ID: name}
}

func (e VersionCreated) both() (now, old Version) { return e.Version, e.Version }
func (e VersionChanged) both() (now, old Version) { return e.Version, e.Old }
func (e VersionDeleted) both() (now, old Version) { return e.Version, e.Version }

// Resource returns the version.
func (e VersionCreated) Resource() tracbus.Resource { return versions().resource(e.Version) }

// Resource returns the version.
func (e VersionChanged) Resource() tracbus.Resource { return versions().resource(e.Version) }

// Resource returns the version.
func (e VersionDeleted) Resource() tracbus.Resource { return versions().resource(e.Version) }

// Kind returns [tracbus.KindCreated].
func (VersionCreated) Kind() tracbus.Kind { return tracbus.KindCreated }

// Kind returns [tracbus.KindChanged] or [tracbus.KindRenamed].
func (e VersionChanged) Kind() tracbus.Kind { return versions().kind(e.both()) }

// Kind returns [tracbus.KindDeleted].
func (VersionDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

// WithChange implements [tracbus.Event].
func (e VersionCreated) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e VersionChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e VersionDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// Entry implements [tracbus.Recordable].
func (e VersionCreated) Entry() tracbus.Entry { return versions().entry(e) }

// Entry implements [tracbus.Recordable].
func (e VersionChanged) Entry() tracbus.Entry { return versions().entry(e) }

// Entry implements [tracbus.Recordable].
func (e VersionDeleted) Entry() tracbus.Entry { return versions().entry(e) }

// Payload implements [tracbus.Payloader].
func (e VersionCreated) Payload() ([]byte, error) { return versions().payload(e) }

// Payload implements [tracbus.Payloader].
func (e VersionChanged) Payload() ([]byte, error) { return versions().payload(e) }

// Payload implements [tracbus.Payloader].
func (e VersionDeleted) Payload() ([]byte, error) { return versions().payload(e) }

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (VersionCreated) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (VersionChanged) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (VersionDeleted) ExtraEvent() {}
