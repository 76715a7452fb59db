package trac_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tracbus/tracbus"
)

// ticketStep is one transaction, and what it tells.
type ticketStep struct {
	author string
	models []tracbus.Model
	event  string // see tellTicket
}

func step(author, event string, models ...tracbus.Model) ticketStep {
	return ticketStep{author, models, event}
}

// tellTicket writes an event in a line: what is new in a ticket, and instead of
// what.
func tellTicket(r *ticketRig, event tracbus.Event) string {
	if event == nil {
		return "nothing"
	}
	c := event.About()
	line := fmt.Sprintf("%s %s at %s by %s", event.Resource(), event.Kind(), r.named(fmt.Sprint(c.Time.UnixMicro())), c.Author)
	if c.Comment != "" {
		line += fmt.Sprintf(" %q", c.Comment)
	}
	difference := func(values, old tracbus.Fields) {
		for _, name := range slices.Sorted(maps.Keys(values)) {
			line += fmt.Sprintf(" %s: %#v > %#v", name, told(old[name]), told(values[name]))
		}
	}
	switch e := event.(type) {
	case tracbus.TicketChanged:
		difference(e.New, e.Old)
	case tracbus.TicketChangeDeleted:
		line += " made at " + r.named(fmt.Sprint(e.ChangeTime.UnixMicro()))
		difference(e.New, e.Old)
	case tracbus.TicketCommentEdited:
		line += fmt.Sprintf(" instead of %q made at %s", e.OldComment, r.named(fmt.Sprint(e.CommentTime.UnixMicro())))
	}
	return line
}

func told(v any) any {
	if t, ok := v.(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	return v
}

// checkState compares an event with what the tables say after it.
func (r *ticketRig) checkState(event tracbus.Event) {
	r.t.Helper()
	switch e := event.(type) {
	case tracbus.TicketCreated:
		assert.Equal(r.t, r.load(e.ID), e.Values)
	case tracbus.TicketChanged:
		assert.Equal(r.t, r.load(e.ID), e.Values)
		for name, v := range e.New {
			assert.Equal(r.t, cmp.Or(e.Values[name], any("")), cmp.Or(v, any("")), name)
			assert.Contains(r.t, e.Old, name)
		}
		assert.Len(r.t, e.Old, len(e.New))
	}
}

// sqlModel is what somebody does to the tables who knows no journal.
type sqlModel string

func (sqlModel) Resource() tracbus.Resource {
	return tracbus.Resource{Realm: tracbus.RealmTicket, ID: "0"}
}

func (m sqlModel) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	_, err := tx.SQL().ExecContext(ctx, string(m))
	return nil, err
}

func (m sqlModel) Delete(context.Context, *tracbus.ModelTransaction) (tracbus.Event, error) {
	return nil, nil
}
