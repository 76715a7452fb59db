package tracbus

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/tracbus/tracbus/internal/delivery"
	"github.com/tracbus/tracbus/internal/entry"
	"github.com/tracbus/tracbus/internal/value"
	"github.com/tracbus/tracbus/internal/wire"
)

// A message is an event that has a payload. Its channel follows from what all
// events say of themselves.
type message interface {
	Event
	appendPayload(dst []byte, f form) ([]byte, error) // the JSON object
}

// form is how a payload is written: with every field of a ticket in new_values, or not.
type form struct {
	all    bool
	orders *value.Orders
}

// Payloader is an event of a realm of your own that a [Publisher] publishes, on
// <prefix>.<env>.<realm>.<kind>.<id>, where created and deleted have no id. An
// event without it is not published, and one that has a method ExtraEvent() too only
// with [PublisherConfig.ExtraEvents]. [Decode] does not know what it means: a
// [Subscriber] yields it as a [DecodeError], which carries channel and payload.
type Payloader interface {
	Event
	// Payload returns a JSON object. The event's realm and kind are then
	// lower-case letters, digits and _, a letter first, because they are parts of
	// the channel. A failure is counted as [PublisherStats.Rejected].
	Payload() ([]byte, error)
}

// hasPayload says whether e can be published.
func hasPayload(e Event) bool {
	switch e.(type) {
	case message, Payloader:
		return true
	}
	return false
}

// appendOwn appends the payload of an event from outside. A panic becomes an
// error, because it would end the process.
func appendOwn(dst []byte, e Payloader) (_ []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &delivery.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	if err := errors.Join(entry.CheckName("realm", string(e.Resource().Realm)), entry.CheckName("kind", string(e.Kind()))); err != nil {
		return dst, err
	}
	payload, err := e.Payload()
	if err != nil {
		return dst, err
	}
	if _, err := value.ParseObject(nil, string(payload)); err != nil {
		return dst, fmt.Errorf("payload %.60q: %w", payload, err)
	}
	return append(dst, payload...), nil
}

// channelOf returns the channel on which e is published.
func channelOf(e Event, prefix string) wire.Channel {
	r := e.Resource()
	return wire.Channel{Prefix: prefix, Env: e.About().Env, Realm: string(r.Realm), Kind: string(e.Kind()), ID: r.ID}
}

// Encode returns the message that a [Publisher] with this configuration sends
// for e, whether it skips e or not. An event of [Decode] becomes the message it
// was, if this configuration has the channel's prefix and says which form of
// new_values it had.
func (c PublisherConfig) Encode(e Event) (channel, payload string, err error) {
	sent, err := normalized(e, "", false)
	if err != nil {
		return "", "", fmt.Errorf("encode %T: %w", e, err)
	}
	b, middle, err := codec{&c, nil}.Append(nil, sent)
	if err != nil {
		return "", "", fmt.Errorf("encode %s %s: %w", e.Resource(), e.Kind(), err)
	}
	return string(b[:middle]), string(b[middle:]), nil
}

var (
	errNoEnv     = errors.New("event without an env: a bus fills it in")
	errNoPayload = errors.New("event without a payload: expected a method Payload")
)

// Append appends e's channel, which ends at middle, and its payload.
func (c codec) Append(dst []byte, e Event) (_ []byte, middle int, err error) {
	switch {
	case !hasPayload(e):
		return dst, 0, errNoPayload
	case e.About().Env == "":
		return dst, 0, errNoEnv
	}
	dst = channelOf(e, prefixOf(c.config.Prefix, c.config.NoPrefix)).Append(dst)
	middle = len(dst)
	switch e := e.(type) {
	case message:
		dst, err = e.appendPayload(dst, form{c.config.FullNewValues, c.orders})
	case Payloader:
		dst, err = appendOwn(dst, e)
	}
	return dst, middle, err
}

// The errors of [Decode] and of a [Subscriber] for a message that is no event, which
// are wrapped in a [DecodeError].
var (
	ErrUnknownChannel = errors.New("not a channel of tickets, pages or plain resources")
	ErrBadPayload     = wire.ErrPayload // "not a payload of this channel"
)

// DecodeError carries a message that cannot be decoded as an event.
type DecodeError struct {
	Channel string
	Payload string // as it was received
	Err     error  // wraps ErrUnknownChannel, ErrBadPayload or, in a stream, ErrStreamEntry
}

// Error names the channel and what is wrong, and quotes no more of the payload
// than that.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("message on channel %.200q: %v", e.Channel, e.Err)
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// Decode returns the event of a message, from this library or from the original
// plugin, in either form of new_values. The event has what channel and payload say;
// its Absent names the rest. prefix is the first part of the channel, "" for none. If
// the channel does not begin with it, all that comes before the realm is the event's
// Env. Decode ignores members that such a message does not have.
//
// Its errors are of type [*DecodeError].
func Decode(prefix, channel, payload string) (Event, error) {
	e, err := decode(prefix, channel, payload)
	if err != nil {
		return nil, &DecodeError{channel, payload, err}
	}
	return e, nil
}

// decoder returns the event of one kind of channel.
type decoder func(c Change, kind Kind, members []value.Member) (Event, error)

func decode(prefix, channel, payload string) (Event, error) {
	known := strings.Contains(channel, "."+string(RealmTicket)+".") || strings.Contains(channel, "."+string(RealmWiki)+".")
	if !known && !strings.Contains(payload, `"realm"`) {
		return nil, ErrUnknownChannel
	}
	var few [24]value.Member
	members, err := value.ParseObject(few[:0], payload)
	if err != nil && !known {
		return nil, ErrUnknownChannel
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPayload, err)
	}
	if e, err := decodeResource(prefix, channel, members); err != errNotPlain {
		return e, err
	}
	if !known {
		return nil, ErrUnknownChannel
	}
	// Only the payload says which part of the channel is the id. A page has no
	// member "id", but a ticket may have a field "name".
	realm, id, decode := RealmWiki, memberText(members, "name"), decoder(decodePage)
	if n := memberText(members, "id"); n != "" {
		realm, id, decode = RealmTicket, n, decodeTicket
	}
	ch, ok := wire.ParseChannel(channel, prefix, string(realm), id)
	if !ok {
		if id == "" {
			return nil, fmt.Errorf(`%w: expected a member "id" or "name"`, ErrBadPayload)
		}
		return nil, fmt.Errorf("%w: payload is of %.100q", ErrUnknownChannel, Resource{realm, id}.String())
	}
	return decode(Change{Env: ch.Env, Absent: AttrOrigin}, Kind(ch.Kind), members)
}

func memberText(members []value.Member, name string) string {
	for _, m := range members {
		if m.Name == name && m.Kind != value.Composite {
			return m.Text
		}
	}
	return ""
}
