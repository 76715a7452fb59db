package contract

import (
	"fmt"
)

const entryName = "StreamEntry"

// entryFields are the fields of an entry of a stream, in the order of the publisher's
// script. Which of them are always there is found out from entries.
var entryFields = []struct {
	name, words string
	rules       object
}{
	{"channel", "The channel of the message.", object{{"minLength", int64(1)}}},
	{"payload", "The payload of the message: a JSON object, as the channel of the message says.", object{{"contentMediaType", "application/json"}, {"pattern", `^\{`}}},
	{"mark", "The random identity of the transaction. Its tid may be given again after the database's history went back; this is not.", object{{"minLength", int64(1)}}},
	{"time", "When the change was made, in microseconds since 1970, UTC; empty if that is not known.", object{{"pattern", `^(-?[0-9]+)?$`}}},
	{"author", "Who made the change; empty if that is not known.", nil},
	{"ipnr", "The IP address from which the change was made; empty if that is not known.", nil},
	{"authenticated", "1 if the author was signed in.", object{{"enum", list{"0", "1"}}}},
	{"comment", "What the author said of the change.", nil},
	{"types", "A JSON object: which fields of a ticket are times, each with the value time. Of those in new_values, or of all.", object{{"contentMediaType", "application/json"}, {"pattern", `^\{`}}},
	{"old_types", "The same of old_values.", object{{"contentMediaType", "application/json"}, {"pattern", `^\{`}}},
	{"traceparent", "The trace of the request that made the change, as the header of this name has it in the W3C's Trace Context.", object{{"pattern", `^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`}}},
	{"tracestate", "What tracing systems say of that trace, as the header of this name has it.", object{{"minLength", int64(1)}, {"maxLength", int64(512)}}},
	{"before", "The id of the entry before this one in the same generation, also if it was trimmed since; 0-0 if this is the first. If it is not the last one that you handled, something is missing.", object{{"pattern", `^[0-9]+-[0-9]+$`}}},
	{"at", "When the entry was appended, in milliseconds since 1970, by the clock of Redis.", object{{"pattern", `^[0-9]+$`}}},
}

// streamEntry returns the schema of the fields of an entry.
func streamEntry(entries []map[string]any) (object, error) {
	counts := map[string]int{}
	for _, e := range entries {
		for name := range e {
			counts[name]++
		}
	}
	var required list
	properties := object{}
	for _, f := range entryFields {
		switch counts[f.name] {
		case 0:
			return nil, fmt.Errorf("no entry has a field %q", f.name)
		case len(entries):
			required = append(required, f.name)
		}
		delete(counts, f.name)
		schema := append(object{{"description", f.words}, {"type", "string"}}, f.rules...)
		properties = append(properties, member{f.name, schema})
	}
	if len(counts) > 0 {
		return nil, fmt.Errorf("entries have fields that stream.go does not describe: %v", counts)
	}
	return object{
		{"type", "object"}, {"required", required}, {"properties", properties}, {"additionalProperties", false},
	}, nil
}

func streamChannel() object {
	return object{
		{"address", "{stream}"},
		{"description", `A Redis stream, which XREAD and XRANGE read. It has an entry for each message that is published, appended before
it in the same step. The id of an entry is <generation * 2^48 + tid>-<place in the transaction>: tid is the number of the
transaction in the tracker's journal, and a new generation begins if Redis forgot its offset or if the journal's history went back.
So ids grow in the order of the changes. The stream is bounded: its oldest entries are trimmed.`},
		{"messages", object{{entryName, ref("components/messages/" + entryName)}}},
		{"parameters", object{{"stream", ref("components/parameters/stream")}}},
	}
}

func streamMessage() object {
	return object{
		{"name", entryName},
		{"summary", "A change, as a message and with what the message does not carry."},
		{"description", "The fields of an entry. Redis keeps texts only."},
		{"payload", ref("components/schemas/" + entryName)},
		{"examples", list{object{{"payload", object{
			{"channel", "trac.myenv.ticket.changed.17"},
			{"payload", `{"new_values":{"due":"2020-05-01T00:00:00+00:00"},"old_values":{"due":null},"author":"joe","comment":"","id":17}`},
			{"mark", "b2f9c1e04a7d4a31"}, {"time", "1577934300000000"}, {"author", "joe"}, {"ipnr", "203.0.113.7"},
			{"authenticated", "1"}, {"comment", ""}, {"types", `{"due":"time"}`}, {"before", "41-0"}, {"at", "1577934300012"},
		}}}}},
	}
}
