package realms

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// RealmAttachment is the realm of attachments.
const RealmAttachment tracbus.Realm = "attachment"

// KindMoved is the kind of an [AttachmentChanged] after which the attachment has
// another parent or file name.
const KindMoved tracbus.Kind = wire.Moved

// Attachment is a file that is attached to a ticket, page or milestone, a row of
// Trac's table attachment. The file itself is in a folder of Trac's.
type Attachment struct {
	Parent      tracbus.Resource // what it is attached to
	Filename    string
	Size        int64     // in bytes
	Time        time.Time // when it was attached
	Description string
	Author      string // who attached it
}

// AttachmentAdded says that a file was attached (Trac's attachment_added). Its
// kind is [tracbus.KindCreated].
type AttachmentAdded struct {
	tracbus.Change
	Attachment Attachment
}

// AttachmentChanged says that an attachment has another parent or file name
// (Trac's attachment_moved, before Trac 1.3.2 attachment_reparented): it is then
// of the kind [KindMoved], and the resource is the attachment at its new place.
// If something else of it changed, which only SQL by hand can do, the kind is
// [tracbus.KindChanged].
type AttachmentChanged struct {
	tracbus.Change
	Attachment Attachment
	Old        Attachment // before the change
}

// AttachmentDeleted says that an attachment was deleted (Trac's
// attachment_deleted).
type AttachmentDeleted struct {
	tracbus.Change
	Attachment Attachment // as it was at last
}

// AttachmentListener is called with every change of an attachment, in the same way
// as a [tracbus.TicketListener].
type AttachmentListener interface {
	AttachmentAdded(context.Context, AttachmentAdded) error
	AttachmentChanged(context.Context, AttachmentChanged) error
	AttachmentDeleted(context.Context, AttachmentDeleted) error
}

// ListenToAttachments registers l for every change of an attachment, as
// [tracbus.Listen] does.
func ListenToAttachments(b *tracbus.Bus, scope tracbus.Scope, l AttachmentListener) *tracbus.Registration {
	return tracbus.Listen(b, scope, l, func(ctx context.Context, e event[Attachment]) error {
		switch e := e.(type) {
		case AttachmentAdded:
			return l.AttachmentAdded(ctx, e)
		case AttachmentChanged:
			return l.AttachmentChanged(ctx, e)
		case AttachmentDeleted:
			return l.AttachmentDeleted(ctx, e)
		}
		return nil
	})
}

// Attachments is the [tracbus.JournalRealm] of attachments.
type Attachments struct{}

// Realm returns [RealmAttachment].
func (Attachments) Realm() tracbus.Realm { return RealmAttachment }

// Event implements [tracbus.JournalRealm].
func (Attachments) Event(e tracbus.Entry) (tracbus.Event, error) { return attachments().event(e) }

// The fields that make an attachment's id.
const (
	parentRealmField = "parent_realm"
	parentIDField    = "parent_id"
	filenameField    = "filename"
)

func attachments() noun[Attachment] {
	return noun[Attachment]{
		realm: RealmAttachment, moved: KindMoved,
		resource: func(t Attachment) tracbus.Resource { return AttachmentResource(t.Parent, t.Filename) },
		naming: func(id string) (tracbus.Fields, error) {
			parent, filename, err := ParseAttachmentID(id)
			return tracbus.Fields{parentRealmField: string(parent.Realm), parentIDField: parent.ID, filenameField: filename}, err
		},
		fields: func(t Attachment) tracbus.Fields {
			return tracbus.Fields{
				parentRealmField: string(t.Parent.Realm), parentIDField: t.Parent.ID, filenameField: t.Filename,
				"size": value.Int(t.Size), "time": timeField(t.Time), descriptionField: t.Description, "author": t.Author,
			}
		},
		read: func(r *reader) Attachment {
			parent := tracbus.Resource{Realm: tracbus.Realm(r.text(parentRealmField)), ID: r.text(parentIDField)}
			return Attachment{parent, r.text(filenameField), r.number("size"), r.time("time"), r.text(descriptionField), r.text("author")}
		},
		created: func(c tracbus.Change, t Attachment) tracbus.Event { return AttachmentAdded{c, t} },
		changed: func(c tracbus.Change, t, old Attachment) tracbus.Event { return AttachmentChanged{c, t, old} },
		deleted: func(c tracbus.Change, t Attachment) tracbus.Event { return AttachmentDeleted{c, t} },
	}
}

// AttachmentResource returns an attachment as a [tracbus.Resource]. Its id is
// <parent realm>/<parent id>/<file name>, as in Trac's URLs: ticket/17/crash.log.
// The parent's id may have slashes of its own: in the file name a / is written %2F,
// and a % is written %25. So two attachments never have one id.
func AttachmentResource(parent tracbus.Resource, filename string) tracbus.Resource {
	filename = strings.ReplaceAll(strings.ReplaceAll(filename, "%", "%25"), "/", "%2F")
	return tracbus.Resource{Realm: RealmAttachment, ID: string(parent.Realm) + "/" + parent.ID + "/" + filename}
}

// ParseAttachmentID is the reverse of [AttachmentResource]. It returns an error if
// that makes no such id.
func ParseAttachmentID(id string) (parent tracbus.Resource, filename string, err error) {
	realm, rest, _ := strings.Cut(id, "/")
	i := strings.LastIndexByte(rest, '/')
	if i >= 0 {
		parent = tracbus.Resource{Realm: tracbus.Realm(realm), ID: rest[:i]}
		filename = strings.ReplaceAll(strings.ReplaceAll(rest[i+1:], "%2F", "/"), "%25", "%")
	}
	if AttachmentResource(parent, filename).ID != id {
		return tracbus.Resource{}, "", fmt.Errorf("%.100q is not the id of an attachment: expected <parent realm>/<parent id>/<file name>", id)
	}
	return parent, filename, nil
}

func (e AttachmentAdded) both() (now, old Attachment)   { return e.Attachment, e.Attachment }
func (e AttachmentChanged) both() (now, old Attachment) { return e.Attachment, e.Old }
func (e AttachmentDeleted) both() (now, old Attachment) { return e.Attachment, e.Attachment }

// Resource returns the attachment.
func (e AttachmentAdded) Resource() tracbus.Resource { return attachments().resource(e.Attachment) }

// Resource returns the attachment.
func (e AttachmentChanged) Resource() tracbus.Resource { return attachments().resource(e.Attachment) }

// Resource returns the attachment.
func (e AttachmentDeleted) Resource() tracbus.Resource { return attachments().resource(e.Attachment) }

// Kind returns [tracbus.KindCreated].
func (AttachmentAdded) Kind() tracbus.Kind { return tracbus.KindCreated }

// Kind returns [tracbus.KindChanged] or [KindMoved].
func (e AttachmentChanged) Kind() tracbus.Kind { return attachments().kind(e.both()) }

// Kind returns [tracbus.KindDeleted].
func (AttachmentDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

// WithChange implements [tracbus.Event].
func (e AttachmentAdded) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e AttachmentChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// WithChange implements [tracbus.Event].
func (e AttachmentDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

// Entry implements [tracbus.Recordable].
func (e AttachmentAdded) Entry() tracbus.Entry { return attachments().entry(e) }

// Entry implements [tracbus.Recordable].
func (e AttachmentChanged) Entry() tracbus.Entry { return attachments().entry(e) }

// Entry implements [tracbus.Recordable].
func (e AttachmentDeleted) Entry() tracbus.Entry { return attachments().entry(e) }

// Payload implements [tracbus.Payloader].
func (e AttachmentAdded) Payload() ([]byte, error) { return attachments().payload(e) }

// Payload implements [tracbus.Payloader].
func (e AttachmentChanged) Payload() ([]byte, error) { return attachments().payload(e) }

// Payload implements [tracbus.Payloader].
func (e AttachmentDeleted) Payload() ([]byte, error) { return attachments().payload(e) }

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (AttachmentAdded) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (AttachmentChanged) ExtraEvent() {}

// ExtraEvent says that the original plugin has no such event; see [tracbus.Payloader].
func (AttachmentDeleted) ExtraEvent() {}
