package intake

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/capture"
	"github.com/tracbus/tracbus/internal/foreign"
	"github.com/tracbus/tracbus/trac/realms"
)

// recordEvents yields what others did to a milestone, component, version or attachment.
func recordEvents(ctx context.Context, from Source, rows []capture.Row, yield yieldFunc) error {
	all := Tables(nil)
	table := all[slices.IndexFunc(all, func(t capture.Table) bool { return t.Code == rows[0].Code })]
	now := map[string]foreign.Cells{}
	for _, r := range rows {
		now[r.ID] = nil
	}
	for id := range now {
		var err error
		if now[id], err = readRecord(ctx, from, table, id); err != nil {
			return err
		}
	}
	for _, s := range foreign.Records(rows, now) {
		if err := yield(recordEvent(table, s), s.Rows); err != nil {
			return err
		}
	}
	return nil
}

func readRecord(ctx context.Context, from Source, table capture.Table, id string) (cells foreign.Cells, err error) {
	where, args := `"`+table.ID[0]+`" = ?`, []any{id}
	if table.Code == attachmentTable {
		parent, filename, err := realms.ParseAttachmentID(id)
		if err != nil {
			return nil, nil // there is none
		}
		where, args = `"type" = ? AND id = ? AND filename = ?`, []any{string(parent.Realm), parent.ID, filename}
	}
	err = from.ReadAll(ctx, Read{`SELECT ` + quoted(table.Values) + ` FROM {` + table.Name + `} WHERE ` + where, args, func(rows *sql.Rows) error {
		cells = foreign.Cells{}
		return scanCells(rows, table.Values, cells)
	}})
	return cells, err
}

// before returns the columns as they were before a step.
func before(s foreign.RecordStep) foreign.Cells {
	cells := foreign.Cells{}
	for name, v := range s.Cells {
		cells[name] = v
	}
	for name, v := range s.Old {
		cells[name] = v
	}
	return cells
}

func recordEvent(table capture.Table, s foreign.RecordStep) tracbus.Event {
	if s.Kind == 0 {
		return nil
	}
	c := change(s.Step, 0)
	old := before(s)
	if s.Cells["description"] == nil {
		c.Null |= tracbus.AttrText
	}
	if old["description"] == nil {
		c.Null |= tracbus.AttrOldText
	}
	switch table.Code {
	case milestoneTable:
		return milestoneEvents(s.Kind, c, milestoneOf(s.ID, s.Cells), milestoneOf(s.OldID, old))
	case componentTable:
		return componentEvents(s.Kind, c, componentOf(s.ID, s.Cells), componentOf(s.OldID, old))
	case versionTable:
		return versionEvents(s.Kind, c, versionOf(s.ID, s.Cells), versionOf(s.OldID, old))
	}
	now, was := attachmentOf(s.ID, s.Cells), attachmentOf(s.OldID, old)
	if s.Kind == foreign.Created { // who attached it says so
		c.Author, c.Absent, c.Null = now.Author, c.Absent&^tracbus.AttrActor, c.Null&^tracbus.AttrAuthor
		if !now.Time.IsZero() {
			c.Time = now.Time
		}
	}
	return attachmentEvents(s.Kind, c, now, was)
}

func milestoneEvents(kind foreign.Kind, c tracbus.Change, now, old realms.Milestone) tracbus.Event {
	switch kind {
	case foreign.Created:
		return realms.MilestoneCreated{Change: c, Milestone: now}
	case foreign.Removed:
		return realms.MilestoneDeleted{Change: c, Milestone: now}
	}
	return realms.MilestoneChanged{Change: c, Milestone: now, Old: old}
}

func componentEvents(kind foreign.Kind, c tracbus.Change, now, old realms.Component) tracbus.Event {
	switch kind {
	case foreign.Created:
		return realms.ComponentCreated{Change: c, Component: now}
	case foreign.Removed:
		return realms.ComponentDeleted{Change: c, Component: now}
	}
	return realms.ComponentChanged{Change: c, Component: now, Old: old}
}

func versionEvents(kind foreign.Kind, c tracbus.Change, now, old realms.Version) tracbus.Event {
	switch kind {
	case foreign.Created:
		return realms.VersionCreated{Change: c, Version: now}
	case foreign.Removed:
		return realms.VersionDeleted{Change: c, Version: now}
	}
	return realms.VersionChanged{Change: c, Version: now, Old: old}
}

func attachmentEvents(kind foreign.Kind, c tracbus.Change, now, old realms.Attachment) tracbus.Event {
	switch kind {
	case foreign.Created:
		return realms.AttachmentAdded{Change: c, Attachment: now}
	case foreign.Removed:
		return realms.AttachmentDeleted{Change: c, Attachment: now}
	}
	return realms.AttachmentChanged{Change: c, Attachment: now, Old: old}
}

func milestoneOf(name string, c foreign.Cells) realms.Milestone {
	return realms.Milestone{Name: name, Due: date(c, "due"), Completed: date(c, "completed"), Description: textOf(c, "description")}
}

func componentOf(name string, c foreign.Cells) realms.Component {
	return realms.Component{Name: name, Owner: textOf(c, "owner"), Description: textOf(c, "description")}
}

func versionOf(name string, c foreign.Cells) realms.Version {
	return realms.Version{Name: name, Time: date(c, "time"), Description: textOf(c, "description")}
}

func attachmentOf(id string, c foreign.Cells) realms.Attachment {
	parent, filename, _ := realms.ParseAttachmentID(id)
	return realms.Attachment{
		Parent: parent, Filename: filename, Size: c.Number("size"), Time: date(c, "time"), Description: textOf(c, "description"), Author: textOf(c, "author"),
	}
}

// date returns a time, which to Trac is none if it is NULL or 0.
func date(c foreign.Cells, column string) time.Time {
	t, ok := c.Moment(column)
	if !ok || t.UnixMicro() == 0 || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func textOf(c foreign.Cells, column string) string {
	if v := c[column]; v != nil {
		return *v
	}
	return ""
}
