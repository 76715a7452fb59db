package contract

import "fmt"

// words describe members: those of a message, of a realm, of a change, or all.
var words = map[string]string{
	"id":         "The id of the resource, which the channels that have one end with.",
	"new_values": "Fields after the change: those that changed, or all of them if the publisher is so configured (FullNewValues, in trac.ini new_values = all).",
	"old_values": "The fields that changed, as they were before.",
	"author":     "Who made the change; null if that is not known.",
	"comment":    "What the author said of the change.",

	"task.realm":                 "The realm of the resource, as in the channel.",
	"task.time":                  "When the change was made.",
	"task.values":                "All fields, after the change or at the end; left out if they are not known.",
	"ResourceChanged.new_values": "The fields that changed, after the change.",
	"ResourceChanged.old_values": "The fields that changed, as they were before; left out if that is not known.",

	"ticket.id":          "The number of the ticket. It may be larger than 2^53.",
	"ticket.old_comment": "The comment as it was before.",
	"ticket.time":        "When the change that is now edited or gone had been made.",

	"TicketCommentEdited.comment":    "The comment as it is now.",
	"TicketChangeDeleted.comment":    "The comment of the change that is gone.",
	"TicketChangeDeleted.new_values": "What the change that is gone had set.",
	"TicketChangeDeleted.old_values": "What it had replaced.",
	"WikiPageCommentEdited.comment":  "The comment as it is now.",

	"wiki.name":        "The name of the page.",
	"wiki.version":     "The version of the page, from 1; 0 of a page that has no text yet, but is read-only.",
	"wiki.time":        "When this version was made.",
	"wiki.author":      "Who made this version.",
	"wiki.text":        "The text of this version.",
	"wiki.comment":     "What the author said of this version.",
	"wiki.readonly":    "Whether only who may administrate pages may change it: 1 if so.",
	"wiki.old_text":    "The text of the version before.",
	"wiki.old_name":    "The name before.",
	"wiki.old_comment": "The comment as it was before.",

	"milestone.new_values":  "All fields after the change.",
	"component.new_values":  "All fields after the change.",
	"version.new_values":    "All fields after the change.",
	"attachment.new_values": "All fields after the change.",
	"name":                  "The name, which is the id.",
	"description":           "The description, in Trac's markup; null if the database has none.",
	"due":                   "When it is due; null if no date is set.",
	"completed":             "When it was completed; null if it is open.",
	"owner":                 "Who gets its new tickets; empty for nobody.",
	"version.time":          "When it was released; null if no date is set.",

	"change.author":           "Who made the change; null if that is not known.",
	"attachment.author":       "Who attached the file.",
	"attachment.filename":     "The name of the file.",
	"attachment.parent_id":    "The id of what it is attached to.",
	"attachment.parent_realm": "The realm of what it is attached to.",
	"attachment.size":         "The size in bytes.",
	"attachment.time":         "When it was attached.",
}

// A subject is what a payload is about: the words for a member depend on it.
type subject struct {
	name  string // of the message
	realm string
}

// describe returns the words for a member. One of the change says who made that, not who
// made the thing.
func (s subject) describe(name string, ofChange bool) (string, error) {
	keys := []string{s.name + "." + name, s.realm + "." + name, name}
	if ofChange {
		keys = append([]string{"change." + name}, keys...)
	}
	for _, key := range keys {
		if text := words[key]; text != "" {
			return text, nil
		}
	}
	return "", fmt.Errorf("%s has a member %q: expected words for it in words.go", s.name, name)
}
