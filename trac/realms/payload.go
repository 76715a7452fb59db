package realms

import (
	"errors"
	"fmt"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// payload returns an event as a message has it: all fields of what was created or
// deleted; and of what changed all fields after the change, and those before it
// that were different.
func (n noun[T]) payload(e event[T]) (dst []byte, err error) {
	all, old := n.difference(e)
	dst = append(dst, '{')
	switch e.Kind() {
	case tracbus.KindCreated, tracbus.KindDeleted:
		dst, err = appendFields(dst, all)
	default:
		var err1, err2 error
		dst, err1 = appendFields(append(dst, `"new_values":{`...), all)
		dst, err2 = appendFields(append(dst, `},"old_values":{`...), old)
		err = errors.Join(err1, err2)
		c := e.About()
		dst = append(dst, `},"author":`...)
		if c.Author == "" && c.Null.Has(tracbus.AttrAuthor) {
			dst = append(dst, "null"...)
		} else {
			dst = value.AppendString(dst, c.Author)
		}
		dst = value.AppendString(append(dst, `,"comment":`...), c.Comment)
	}
	dst = value.AppendString(append(dst, `,"id":`...), e.Resource().ID)
	return append(dst, '}'), err
}

func appendFields(dst []byte, f tracbus.Fields) ([]byte, error) {
	return (*value.Orders)(nil).AppendFields(dst, f, "")
}

// Decode returns the event of a message as [tracbus.Decode] does, also if it is
// one of this package. So it is for what a [tracbus.Subscriber] yields as a
// [tracbus.DecodeError], which has the channel and the payload:
//
//	for event, err := range subscriber.Events(ctx, "trac.*") {
//		if bad, ok := errors.AsType[*tracbus.DecodeError](err); ok {
//			event, err = realms.Decode("trac", bad.Channel, bad.Payload)
//		}
//		…
//
// The event has what channel and payload say; its Absent names the rest. A payload
// does not say when a change was made, nor who created or deleted something.
//
// Its errors are of type [*tracbus.DecodeError].
func Decode(prefix, channel, payload string) (tracbus.Event, error) {
	members, err := value.ParseObject(nil, payload)
	if err != nil {
		return nil, &tracbus.DecodeError{Channel: channel, Payload: payload, Err: fmt.Errorf("%w: %w", tracbus.ErrBadPayload, err)}
	}
	// An id may look like the end of another realm's channel: then only the fields
	// say which realm it is.
	var first error
	for _, decode := range []func(string, string, []value.Member) (tracbus.Event, error){
		milestones().decode, components().decode, versions().decode, attachments().decode,
	} {
		e, err := decode(prefix, channel, members)
		switch {
		case err == nil:
			return e, nil
		case first == nil && !errors.Is(err, tracbus.ErrUnknownChannel):
			first = err
		}
	}
	if first != nil {
		return nil, &tracbus.DecodeError{Channel: channel, Payload: payload, Err: first}
	}
	return tracbus.Decode(prefix, channel, payload)
}

// decode is the reverse of payload.
func (n noun[T]) decode(prefix, channel string, members []value.Member) (tracbus.Event, error) {
	p := wire.Reader{Members: members}
	id := p.Text("id", 0)
	ch, ok := wire.ParseChannel(channel, prefix, string(n.realm), id)
	kind := tracbus.Kind(ch.Kind)
	c := tracbus.Change{Env: ch.Env, Absent: tracbus.AttrOrigin | tracbus.AttrTime}
	var all, old tracbus.Fields
	switch {
	case !ok:
		return nil, tracbus.ErrUnknownChannel
	case kind == tracbus.KindCreated || kind == tracbus.KindDeleted:
		c.Absent |= tracbus.AttrAuthor | tracbus.AttrComment
		all = p.Fields("id")
	case kind == tracbus.KindChanged || kind == n.moved:
		c.Author, c.Comment = p.Text("author", wire.Author), p.Text("comment", 0)
		all, old = p.Object("new_values"), p.Object("old_values")
	default:
		return nil, tracbus.ErrUnknownChannel
	}
	if p.Err != nil {
		return nil, p.Err
	}
	c.Null |= tracbus.Attrs(p.Null) | nullOf(all, tracbus.AttrText) | nullOf(old, tracbus.AttrOldText)
	c.Absent |= tracbus.Attrs(p.Absent)
	e, err := n.made(c, kind, all, old)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", tracbus.ErrBadPayload, err)
	case e.Resource().ID != id || e.Kind() != kind:
		return nil, fmt.Errorf("%w: it is of %.100q, %s", tracbus.ErrBadPayload, e.Resource(), e.Kind())
	}
	return e, nil
}

// nullOf returns attr if a description is NULL.
func nullOf(f tracbus.Fields, attr tracbus.Attrs) tracbus.Attrs {
	if v, ok := f[descriptionField]; ok && v == nil {
		return attr
	}
	return 0
}
