package trac

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/namedrow"
	"github.com/tracbus/tracbus/trac/realms"
)

// moveAttachments gives the rows of a resource in Trac's table attachment another
// parent, as Trac does with the files (Attachment.reparent_all). If the journal has
// the realm of attachments, each is reported.
func moveAttachments(ctx context.Context, tx *tracbus.ModelTransaction, from, to tracbus.Resource) error {
	files, err := attachmentsOf(ctx, tx, from)
	if err != nil {
		return err
	}
	err = tablesOf(tx).ExecAttachments(ctx, `UPDATE {attachment} SET id = ? WHERE type = ? AND id = ?`, to.ID, string(from.Realm), from.ID)
	for _, f := range files {
		if err == nil {
			moved := f.Attachment
			moved.Parent = to
			if f.Null != 0 {
				f.Null |= tracbus.AttrOldText
			}
			err = tx.Also(realms.AttachmentChanged{Change: f.Change, Attachment: moved, Old: f.Attachment})
		}
	}
	return err
}

// deleteAttachments deletes them (Attachment.delete_all).
func deleteAttachments(ctx context.Context, tx *tracbus.ModelTransaction, parent tracbus.Resource) error {
	files, err := attachmentsOf(ctx, tx, parent)
	if err != nil {
		return err
	}
	err = tablesOf(tx).ExecAttachments(ctx, `DELETE FROM {attachment} WHERE type = ? AND id = ?`, string(parent.Realm), parent.ID)
	for _, f := range files {
		if err == nil {
			err = tx.Also(f)
		}
	}
	return err
}

// attachmentsOf returns and locks what is attached to a resource, each as the event
// that it is deleted: none if the journal does not have the realm of attachments, or
// the database no such table.
func attachmentsOf(ctx context.Context, tx *tracbus.ModelTransaction, parent tracbus.Resource) (files []realms.AttachmentDeleted, err error) {
	if tx.Realm(realms.RealmAttachment) == nil {
		return nil, nil
	}
	if ok, err := tablesOf(tx).Has(ctx, "attachment"); !ok || err != nil {
		return nil, err
	}
	err = tablesOf(tx).ReadAll(ctx, read{
		Text: `SELECT filename, size, "time", description, author FROM {attachment} WHERE type = ? AND id = ? ORDER BY filename` + lockRows,
		Args: []any{string(parent.Realm), parent.ID}, Scan: func(rows *sql.Rows) error {
			var name, description, author sql.NullString
			var size, when sql.NullInt64
			if err := rows.Scan(&name, &size, &when, &description, &author); err != nil {
				return err
			}
			f := realms.AttachmentDeleted{Attachment: realms.Attachment{
				Parent: parent, Filename: name.String, Size: size.Int64, Time: namedrow.TimeOf(when.Int64), Description: description.String, Author: author.String,
			}}
			if !description.Valid {
				f.Null = tracbus.AttrText
			}
			files = append(files, f)
			return nil
		},
	})
	var resources []tracbus.Resource
	for _, f := range files {
		resources = append(resources, f.Resource())
	}
	if err == nil {
		err = tx.Lock(ctx, resources...)
	}
	if err != nil {
		return nil, fmt.Errorf("attachments of %s %.100q: %w", parent.Realm, parent.ID, err)
	}
	return files, nil
}
