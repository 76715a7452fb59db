package realms

import (
	"context"

	"github.com/tracbus/tracbus"
)

// RealmComponent is the realm of components.
const RealmComponent tracbus.Realm = "component"

// Component is a component that tickets are about, a row of Trac's table
// component.
type Component struct {
	Name        string
	Owner       string // of its new tickets; "" for none
	Description string
}

// ComponentCreated says that a component was created. Trac has no listeners for
// components.
type ComponentCreated struct {
	tracbus.Change
	Component Component
}

// ComponentChanged says that a component was changed. Its kind is
// [tracbus.KindChanged], or [tracbus.KindRenamed] if Old has another name: the
// resource is then the component under its new name.
type ComponentChanged struct {
	tracbus.Change
	Component Component
	Old       Component // before the change
}

// ComponentDeleted says that a component was deleted.
type ComponentDeleted struct {
	tracbus.Change
	Component Component // as it was at last
}

// ComponentListener is called with every change of a component, in the same way
// as a [tracbus.TicketListener].
type ComponentListener interface {
	ComponentCreated(context.Context, ComponentCreated) error
	ComponentChanged(context.Context, ComponentChanged) error
	ComponentDeleted(context.Context, ComponentDeleted) error
}

// ListenToComponents registers l for every change of a component, as
// [tracbus.Listen] does.
func ListenToComponents(b *tracbus.Bus, scope tracbus.Scope, l ComponentListener) *tracbus.Registration {
	return tracbus.Listen(b, scope, l, func(ctx context.Context, e event[Component]) error {
		switch e := e.(type) {
		case ComponentCreated:
			return l.ComponentCreated(ctx, e)
		case ComponentChanged:
			return l.ComponentChanged(ctx, e)
		case ComponentDeleted:
			return l.ComponentDeleted(ctx, e)
		}
		return nil
	})
}

// Components is the [tracbus.JournalRealm] of components.
type Components struct{}

// Realm returns [RealmComponent].
func (Components) Realm() tracbus.Realm { return RealmComponent }

// Event implements [tracbus.JournalRealm].
func (Components) Event(e tracbus.Entry) (tracbus.Event, error) { return components().event(e) }

func components() noun[Component] {
	return noun[Component]{
		realm: RealmComponent, moved: tracbus.KindRenamed, naming: named,
		resource: func(t Component) tracbus.Resource { return ComponentResource(t.Name) },
		fields: func(t Component) tracbus.Fields {
			return tracbus.Fields{nameField: t.Name, "owner": t.Owner, descriptionField: t.Description}
		},
		read: func(r *reader) Component {
			return Component{r.text(nameField), r.text("owner"), r.text(descriptionField)}
		},
		created: func(c tracbus.Change, t Component) tracbus.Event { return ComponentCreated{c, t} },
		changed: func(c tracbus.Change, t, old Component) tracbus.Event { return ComponentChanged{c, t, old} },
		deleted: func(c tracbus.Change, t Component) tracbus.Event { return ComponentDeleted{c, t} },
	}
}

// ComponentResource returns the component with a name as a [tracbus.Resource].
func ComponentResource(name string) tracbus.Resource {
	return tracbus.Resource{Realm: RealmComponent, ID: name}
}

func (e ComponentCreated) both() (now, old Component) { return e.Component, e.Component }
func (e ComponentChanged) both() (now, old Component) { return e.Component, e.Old }
func (e ComponentDeleted) both() (now, old Component) { return e.Component, e.Component }

// Resource returns the component.
func (e ComponentCreated) Resource() tracbus.Resource { return components().resource(e.Component) }

// Resource returns the component.
func (e ComponentChanged) Resource() tracbus.Resource { return components().resource(e.Component) }

// Resource returns the component.
func (e ComponentDeleted) Resource() tracbus.Resource { return components().resource(e.Component) }

// Kind returns [tracbus.KindCreated].
func (ComponentCreated) Kind() tracbus.Kind { return tracbus.KindCreated }

// Kind returns [tracbus.KindChanged] or [tracbus.KindRenamed].
func (e ComponentChanged) Kind() tracbus.Kind { return components().kind(e.both()) }

// Kind returns [tracbus.KindDeleted].
func (ComponentDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

// WithChange implements [tracbus.Event].
func (e ComponentCreated) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e ComponentChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e ComponentDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// Entry implements [tracbus.Recordable].
func (e ComponentCreated) Entry() tracbus.Entry { return components().entry(e) }

// Entry implements [tracbus.Recordable].
func (e ComponentChanged) Entry() tracbus.Entry { return components().entry(e) }

// Entry implements [tracbus.Recordable].
func (e ComponentDeleted) Entry() tracbus.Entry { return components().entry(e) }

// Payload implements [tracbus.Payloader].
func (e ComponentCreated) Payload() ([]byte, error) { return components().payload(e) }

// Payload implements [tracbus.Payloader].
func (e ComponentChanged) Payload() ([]byte, error) { return components().payload(e) }

// Payload implements [tracbus.Payloader].
func (e ComponentDeleted) Payload() ([]byte, error) { return components().payload(e) }

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (ComponentCreated) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (ComponentChanged) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (ComponentDeleted) ExtraEvent() {}
