package tracbus

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// In an entry's State, a name that begins with this sign is not a field's. A
// field whose own name begins with it gets a second one.
const notField = '='

// What is in State beside the fields.
const (
	stateEdited     = "=edited"      // when the comment that was edited had been made
	stateOldComment = "=old_comment" // what it was
	stateDeleted    = "=deleted"     // when the change that was deleted had been made
	stateLost       = entry.Lost     // and the name of a field of New that Values does not have
)

// Entry implements [Recordable].
func (e TicketCreated) Entry() Entry {
	return Entry{Resource: e.Resource(), Kind: KindCreated, Change: e.Change, State: stateOf(e.Values, nil)}
}

// Entry implements [Recordable].
func (e TicketDeleted) Entry() Entry {
	return Entry{Resource: e.Resource(), Kind: KindDeleted, Change: e.Change, State: stateOf(e.Values, nil)}
}

// Entry implements [Recordable].
func (e TicketChanged) Entry() Entry {
	return Entry{e.Resource(), KindChanged, e.Change, stateAfter(e.Values, e.New), e.New, e.Old}
}

// Entry implements [Recordable].
func (e TicketChangeDeleted) Entry() Entry {
	return Entry{e.Resource(), KindChangeDeleted, e.Change, Fields{stateDeleted: e.ChangeTime}, e.New, e.Old}
}

// Entry implements [Recordable].
func (e TicketCommentEdited) Entry() Entry {
	state := Fields{stateEdited: e.CommentTime, stateOldComment: e.OldComment}
	return Entry{Resource: e.Resource(), Kind: KindCommentEdited, Change: e.Change, State: state}
}

// stateOf returns the values that are not in changed as well, and nil for nil.
func stateOf(values, changed Fields) Fields {
	if values == nil {
		return nil
	}
	state := make(Fields, len(values))
	for name, v := range values {
		if n, ok := changed[name]; ok && value.Equal(v, n) {
			continue
		}
		if name != "" && name[0] == notField {
			name = string(notField) + name
		}
		state[name] = v
	}
	return state
}

// stateAfter returns the values of a change, and which new ones are none of them.
func stateAfter(values, fresh Fields) Fields {
	state := stateOf(values, fresh)
	if state == nil {
		return nil
	}
	for name := range fresh {
		if _, ok := values[name]; !ok {
			state[stateLost+name] = nil
		}
	}
	return state
}

// Tickets is the [JournalRealm] of tickets. The events are the same whether
// trac.TicketEdit wrote the ticket to Trac's tables, or the application wrote it
// elsewhere and reports it with [ModelTransaction.Record]. Trac's custom fields
// need the realm trac.Tickets, which embeds this one.
type Tickets struct{}

// Realm returns [RealmTicket].
func (Tickets) Realm() Realm { return RealmTicket }

// Event implements [JournalRealm].
func (Tickets) Event(e Entry) (Event, error) {
	fail := func(expected string) (Event, error) {
		return nil, fmt.Errorf("entry %s of %s: expected %s", e.Kind, e.Resource, expected)
	}
	if e.Resource.Realm != RealmTicket {
		return fail("the realm " + string(RealmTicket))
	}
	id, err := strconv.ParseInt(e.Resource.ID, 10, 64)
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != e.Resource.ID {
		return fail("a ticket's number")
	}
	switch e.Kind {
	case KindCreated:
		return TicketCreated{e.Change, id, e.stateValues()}, nil
	case KindDeleted:
		return TicketDeleted{e.Change, id, e.stateValues()}, nil
	case KindChanged:
		return TicketChanged{e.Change, id, e.stateValues(), e.New, e.Old}, nil
	case KindCommentEdited:
		edited, ok1 := e.State[stateEdited].(time.Time)
		comment, ok2 := e.State[stateOldComment].(string)
		if !ok1 || !ok2 {
			return fail(stateEdited + " and " + stateOldComment + " in its state")
		}
		return TicketCommentEdited{e.Change, id, edited, comment}, nil
	case KindChangeDeleted:
		deleted, ok := e.State[stateDeleted].(time.Time)
		if !ok {
			return fail(stateDeleted + " in its state")
		}
		return TicketChangeDeleted{e.Change, id, deleted, e.New, e.Old}, nil
	}
	return fail("a kind of change that tickets have")
}

// stateValues puts together again what Entry took apart. Of two changes that were made one, State
// may have fields of New under their own names, and what the second did not have any more.
func (e Entry) stateValues() Fields {
	if e.State == nil {
		return nil
	}
	values := make(Fields, len(e.State)+len(e.New))
	maps.Copy(values, e.New)
	for name, v := range e.State {
		switch {
		case strings.HasPrefix(name, stateLost):
			continue
		case len(name) > 1 && name[0] == notField && name[1] == notField:
			name = name[1:]
		}
		values[name] = v
	}
	for name := range e.State {
		if lost, ok := strings.CutPrefix(name, stateLost); ok {
			delete(values, lost)
		}
	}
	return values
}

func (e TicketCreated) sent(bool) (values, old Fields) { return e.Values, nil }
func (e TicketDeleted) sent(bool) (values, old Fields) { return e.Values, nil }

func (e TicketChanged) sent(all bool) (values, old Fields) {
	switch {
	case all && e.Values != nil:
		return e.Values, e.Old
	case e.New == nil && e.Values != nil:
		return changed(e.Values, e.Old), e.Old
	}
	return e.New, e.Old
}

func (e TicketChangeDeleted) sent(bool) (values, old Fields) { return e.New, e.Old }

// decodeTicket returns the event of a channel of tickets. A payload does not
// say who created a ticket, nor when a change was made, but in its fields.
func decodeTicket(c Change, kind Kind, members []value.Member) (e Event, err error) {
	p := wire.Reader{Members: members}
	id := p.Int("id", 0)
	if id < 1 {
		p.Fail("member %q: expected a number from 1, found %d", "id", id)
	}
	switch kind {
	case KindCreated, KindDeleted:
		c.Absent |= AttrAuthor | AttrComment | AttrTime
		values := p.Fields("id")
		if e = (TicketDeleted{c, id, values}); kind == KindCreated {
			e = TicketCreated{c, id, values}
		}
	case KindChanged:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.Text("author", wire.Author), p.Text("comment", wire.Comment)
		e = decodeDifference(&c, id, p.Object("new_values"), p.Object("old_values"))
	case KindCommentEdited:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.Text("author", wire.Author), p.Text("comment", wire.Comment)
		e = TicketCommentEdited{c, id, p.Made("time"), p.Text("old_comment", wire.OldText)}
	case KindChangeDeleted:
		c.Absent |= AttrTime
		c.Author, c.Comment = p.Text("author", wire.Author), p.Text("comment", wire.Comment)
		e = TicketChangeDeleted{c, id, p.Made("time"), p.Object("new_values"), p.Object("old_values")}
	default:
		return nil, ErrUnknownChannel
	}
	c = e.About()
	c.Null, c.Absent = c.Null|Attrs(p.Null), c.Absent|Attrs(p.Absent)
	return e.WithChange(c), p.Err
}

// decodeDifference distinguishes the two forms of new_values: only the full state
// has fields that did not change, of which a ticket has some always.
func decodeDifference(c *Change, id int64, values, old Fields) Event {
	for name := range values {
		if _, ok := old[name]; !ok {
			fresh := make(Fields, len(old))
			for name := range old {
				if v, ok := values[name]; ok {
					fresh[name] = v
				}
			}
			return TicketChanged{*c, id, values, fresh, old}
		}
	}
	c.Absent |= AttrValues
	return TicketChanged{*c, id, nil, values, old}
}
