// Package capture compares what a journal says that others did with what Trac told its own
// listeners. Only tests import it.
package capture

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac/realms"
)

// TakeIn takes in all that waits, as transactions that lock it do.
func TakeIn(ctx context.Context, db *sql.DB, j *tracbus.Journal) error {
	realmOf := map[string]tracbus.Realm{
		"t": tracbus.RealmTicket, "c": tracbus.RealmTicket, "h": tracbus.RealmTicket, "w": tracbus.RealmWiki,
		"m": realms.RealmMilestone, "p": realms.RealmComponent, "v": realms.RealmVersion, "a": realms.RealmAttachment,
	}
	for {
		var code, id string
		err := db.QueryRowContext(ctx, "SELECT tbl, id FROM journal_inbox ORDER BY n LIMIT 1").Scan(&code, &id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = j.Update(ctx, tracbus.Actor{}, func(tx *tracbus.ModelTransaction) error {
			return tx.Lock(ctx, tracbus.Resource{Realm: realmOf[code], ID: id})
		})
		if err != nil {
			return err
		}
	}
}

// Told is what a listener was told, as testdata/history.py of package realtrac writes it.
type Told = map[string]any

// Plain returns an event as a listener of Trac's would have told of it; false if Trac would tell
// nobody.
func Plain(e tracbus.Event) (told Told, ok bool) {
	c := e.About()
	known := !c.Absent.Has(tracbus.AttrActor)
	told = Told{"realm": string(e.Resource().Realm), "kind": string(e.Kind())}
	add := func(more Told) { maps.Copy(told, more) }
	switch e := e.(type) {
	case tracbus.TicketCreated:
		add(Told{"id": float64(e.ID), "values": texts(e.Values)})
	case tracbus.TicketChanged:
		add(Told{"id": float64(e.ID), "values": texts(e.Values), "old": texts(e.Old), "comment": c.Comment, "author": c.Author})
		return told, known
	case tracbus.TicketDeleted:
		add(Told{"id": float64(e.ID), "values": texts(e.Values)})
	case tracbus.TicketCommentEdited:
		add(Told{"id": float64(e.ID), "at": float64(e.CommentTime.UnixMicro()), "comment": c.Comment, "author": c.Author, "oldcomment": e.OldComment})
	case tracbus.TicketChangeDeleted:
		changes := Told{}
		for name := range e.New {
			changes[name] = []any{text(name, e.Old[name]), text(name, e.New[name])}
		}
		add(Told{"id": float64(e.ID), "at": float64(e.ChangeTime.UnixMicro()), "changes": changes})
	case tracbus.WikiPageCreated:
		add(page(e.Page, known))
	case tracbus.WikiPageChanged:
		add(page(e.Page, known))
	case tracbus.WikiPageDeleted:
		add(Told{"name": e.Page.Name})
	case tracbus.WikiPageVersionDeleted:
		add(Told{"name": e.Page.Name})
	case tracbus.WikiPageRenamed:
		add(Told{"name": e.Page.Name, "oldname": e.OldName})
	case tracbus.WikiPageCommentEdited:
		add(Told{"name": e.Page.Name, "version": float64(e.Page.Version), "comment": e.Page.Comment, "oldcomment": e.OldComment})
	case realms.MilestoneCreated:
		add(milestone(e.Milestone))
	case realms.MilestoneChanged:
		add(milestone(e.Milestone))
		add(Told{"oldname": e.Old.Name})
	case realms.MilestoneDeleted:
		add(milestone(e.Milestone))
	case realms.AttachmentAdded:
		add(attachment(e.Attachment))
		add(Told{"author": e.Attachment.Author, "description": e.Attachment.Description, "size": float64(e.Attachment.Size)})
	case realms.AttachmentChanged:
		add(attachment(e.Attachment))
		add(Told{"old": fmt.Sprintf("%s:%s:%s", e.Old.Parent.Realm, e.Old.Parent.ID, e.Old.Filename)})
	case realms.AttachmentDeleted:
		add(attachment(e.Attachment))
	default:
		return told, false
	}
	return told, true
}

func page(p tracbus.WikiPage, known bool) Told {
	t := Told{"name": p.Name, "version": float64(p.Version), "text": p.Text}
	if known {
		t["comment"], t["author"] = p.Comment, p.Author
	}
	return t
}

func milestone(m realms.Milestone) Told {
	return Told{"name": m.Name, "due": micros(m.Due), "completed": micros(m.Completed), "description": m.Description}
}

func micros(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro())
}

func attachment(a realms.Attachment) Told {
	return Told{"parent": fmt.Sprintf("%s:%s", a.Parent.Realm, a.Parent.ID), "filename": a.Filename}
}

// texts returns fields that have a value as Trac's tables have them.
func texts(f tracbus.Fields) Told {
	t := Told{}
	for name, v := range f {
		if s := text(name, v); s != "" {
			t[name] = s
		}
	}
	return t
}

func text(name string, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case time.Time:
		us := v.UnixMicro()
		switch {
		case name == "time" || name == "changetime":
			return strconv.FormatInt(us, 10)
		case us < 0:
			return fmt.Sprintf("%+017d", us)
		}
		return fmt.Sprintf("%018d", us)
	}
	return ""
}

// ByResource puts what was told in groups, because only what is of one resource has an order. What
// gives a resource another name is of both.
func ByResource(all []Told) map[string][]Told {
	groups := map[string][]Told{}
	for _, t := range all {
		keys := []string{"id", "name", "oldname", "filename"} // a file that is moved keeps its name
		seen := map[string]bool{}
		for _, of := range keys {
			id, ok := t[of]
			key := fmt.Sprintf("%v %v", t["realm"], id)
			if ok && !seen[key] {
				seen[key] = true
				groups[key] = append(groups[key], t)
			}
		}
	}
	return groups
}
