package contract

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tracbus/tracbus"
)

// about is what a reader of the document must know before.
const about = `What a tracker with tracbus publishes on Redis: one message for each change of a ticket, a
wiki page or another resource, and, if a stream is configured, one entry of the stream for each.

Channels are those of Redis' PUBLISH and PSUBSCRIBE. A payload is one JSON object in UTF-8. The id at the end
of a channel is as it is, with spaces, dots, slashes and stars: take it from the payload. With an empty prefix
there is no leading dot.

Messages with the tag extra are sent only if the publisher is so configured (ExtraEvents, in trac.ini rare_events).
There may be other channels: events of realms that the tracker itself has. A later version may have more members, and
this document will then name them. So ignore the channels and the members that you do not know.

x-absent-with names the attribute of an event without which the member is left out. The library
always has all of them; only a program can leave them out that publishes events which it made by tracbus.Decode
of messages that lacked them.`

// kindOf is one row of the document: a channel, and the message on it.
type kindOf struct {
	event   tracbus.Event // the example
	name    string        // TicketChanged, MilestoneRenamed
	address string
	comment string
	extra   bool
}

// kindsOf returns the rows of the document, in the order of the examples.
func kindsOf(comments comments) (kinds []kindOf, err error) {
	unknown := maps.Clone(comments)
	for _, e := range Examples() {
		goType := fmt.Sprintf("%T", e)
		comment, ok := comments[goType]
		if !ok {
			return nil, fmt.Errorf("%s is no type of events", goType)
		}
		delete(unknown, goType)
		k := kindOf{event: e, name: nameOf(e), comment: comment}
		if k.address, err = addressOf(e); err != nil {
			return nil, err
		}
		_, extra := e.(interface{ ExtraEvent() })
		k.extra = extra || !slices.Contains([]tracbus.Kind{tracbus.KindCreated, tracbus.KindChanged, tracbus.KindDeleted}, e.Kind())
		kinds = append(kinds, k)
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("no example of %q: add one to examples.go", slices.Sorted(maps.Keys(unknown)))
	}
	return kinds, nil
}

// nameOf returns the name of an event's channel and message: that of its type, or of its
// kind if a type has several.
func nameOf(e tracbus.Event) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", e), ".")
	if stem, ok := strings.CutSuffix(name, "Changed"); ok && e.Kind() != tracbus.KindChanged {
		kind := string(e.Kind())
		return stem + strings.ToUpper(kind[:1]) + kind[1:]
	}
	return name
}

// addressOf returns the channel of an event, with parameters for what varies.
func addressOf(e tracbus.Event) (string, error) {
	c := e.About()
	c.Env = "{env}"
	channel, _, err := tracbus.PublisherConfig{Prefix: "{prefix}"}.Encode(e.WithChange(c))
	if err != nil {
		return "", err
	}
	if stem, ok := strings.CutSuffix(channel, "."+e.Resource().ID); ok {
		channel = stem + ".{id}"
	}
	if anyRealm(e) {
		channel = strings.Replace(channel, "."+string(e.Resource().Realm)+".", ".{realm}.", 1)
	}
	return channel, nil
}

// anyRealm says whether events of that type can be of any realm.
func anyRealm(e tracbus.Event) bool {
	switch e.(type) {
	case tracbus.ResourceCreated, tracbus.ResourceChanged, tracbus.ResourceDeleted:
		return true
	}
	return false
}

// Document returns docs/asyncapi.yaml. root is the folder of the root module; entries are
// entries of a stream as a publisher has appended them.
func Document(root string, entries []map[string]any) ([]byte, error) {
	comments, err := readComments(root)
	if err != nil {
		return nil, err
	}
	kinds, err := kindsOf(comments)
	if err != nil {
		return nil, err
	}
	channels, operations, messages := object{}, object{}, object{}
	schemas, err := sharedSchemas()
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		shape, err := shapeOf(k.event)
		if err != nil {
			return nil, err
		}
		payload, err := shape.schema(subject{k.name, string(k.event.Resource().Realm)})
		if err != nil {
			return nil, err
		}
		message, err := k.message()
		if err != nil {
			return nil, err
		}
		channels = append(channels, member{lower(k.name), k.channel()})
		operations = append(operations, member{"send" + k.name, operation(k.name)})
		messages = append(messages, member{k.name, message})
		schemas = append(schemas, member{k.name, payload})
	}
	entry, err := streamEntry(entries)
	if err != nil {
		return nil, err
	}
	channels = append(channels, member{lower(entryName), streamChannel()})
	operations = append(operations, member{"append" + entryName, operation(entryName)})
	messages = append(messages, member{entryName, streamMessage()})
	schemas = append(schemas, member{entryName, entry})
	return yamlOf("Made from the event types by: go test ./tests/contract -run TestAsyncAPI -update", object{
		{"asyncapi", "3.0.0"},
		{"info", object{
			{"title", "tracbus"}, {"version", "1"}, {"description", about},
			{"license", object{{"name", "BSD-3-Clause"}}},
			{"externalDocs", object{{"description", "Channels and payloads in prose"}, {"url", "https://github.com/tracbus/tracbus/blob/main/docs/channels.md"}}},
		}},
		{"defaultContentType", "application/json"},
		{"servers", object{{"redis", object{{"host", "localhost:6379"}, {"protocol", "redis"}}}}},
		{"channels", channels},
		{"operations", operations},
		{"components", object{{"messages", messages}, {"schemas", schemas}, {"parameters", parameters()}}},
	})
}

func lower(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// channel returns the channel of a kind.
func (k kindOf) channel() object {
	parameters := object{}
	for _, name := range []string{"prefix", "env", "realm", "id"} {
		if strings.Contains(k.address, "{"+name+"}") {
			parameters = append(parameters, member{name, ref("components/parameters/" + name)})
		}
	}
	return object{
		{"address", k.address},
		{"messages", object{{k.name, ref("components/messages/" + k.name)}}},
		{"parameters", parameters},
	}
}

// operation says that the tracker sends what a channel has.
func operation(name string) object {
	return object{{"action", "send"}, {"channel", ref("channels/" + lower(name))}}
}

func (k kindOf) message() (object, error) {
	payload, err := encode(k.event, tracbus.PublisherConfig{})
	if err != nil {
		return nil, err
	}
	o := object{
		{"name", k.name},
		{"title", k.title()},
		{"summary", firstSentence(k.comment)},
	}
	if rest := strings.TrimSpace(strings.TrimPrefix(k.comment, firstSentence(k.comment))); rest != "" {
		o = append(o, member{"description", rest})
	}
	if k.extra {
		o = append(o, member{"tags", list{object{{"name", "extra"}}}})
	}
	return append(o,
		member{"payload", ref("components/schemas/" + k.name)},
		member{"examples", list{object{{"payload", exampleOf(payload)}}}},
	), nil
}

// title says what was done to what.
func (k kindOf) title() string {
	realm := string(k.event.Resource().Realm)
	if anyRealm(k.event) {
		realm = "plain resource"
	}
	return realm + " " + strings.ReplaceAll(string(k.event.Kind()), "_", " ")
}

// exampleOf makes an object of the document of a payload.
func exampleOf(payload map[string]any) (o object) {
	names := slices.SortedFunc(maps.Keys(payload), func(a, b string) int {
		return cmp.Or(strings.Compare(typeOf(payload[a]), typeOf(payload[b])), strings.Compare(a, b))
	})
	for _, name := range names {
		var v = payload[name]
		switch typed := v.(type) {
		case map[string]any:
			v = exampleOf(typed)
		case interface{ Int64() (int64, error) }:
			if n, err := typed.Int64(); err == nil {
				v = n
			}
		}
		o = append(o, member{name, v})
	}
	return o
}

func parameters() object {
	return object{
		{"prefix", object{{"description", "The first part of every channel, as configured."}, {"default", tracbus.DefaultPrefix}}},
		{"env", object{{"description", "The short name of the tracker, or of one of its projects; of a Trac environment, the name of its folder. It may have dots."}}},
		{"realm", object{{"description", "The realm of plain resources, such as task, as the tracker names it: lower-case letters, digits and _, a letter first. Not ticket, and not wiki."}}},
		{"id", object{{"description", "The id of the resource, as it is: the payload says where it begins."}}},
		{"stream", object{{"description", "The key of the stream, as configured."}, {"default", "trac:stream"}}},
	}
}
