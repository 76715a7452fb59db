package tracbus_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// A vector is one message recorded from the original plugin: the call that the
// plugin got, and what Redis received.
type vector struct {
	ID, Plugin, Prefix, Env string
	Step                    int
	Call                    struct {
		Method          string
		Ticket          *vectorTicket
		Page            *vectorPage
		OldValues       pairs `json:"old_values"`
		Author, Comment any
	}
	Channel string
	Data    string `json:"data_raw"`
}

type vectorTicket struct {
	ID     json.RawMessage
	Values pairs
}

// number is 0 where the plugin was given something else than a number of ours.
func (t vectorTicket) number() (n int64) {
	if json.Unmarshal(t.ID, &n) != nil {
		return 0
	}
	return n
}

type vectorPage struct {
	Name, Version, Time, Author, Text, Comment, OldText, Readonly any
}

func (p *vectorPage) UnmarshalJSON(data []byte) error {
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // microseconds of the year 9999 are no float64
	if err := d.Decode(&m); err != nil {
		return err
	}
	*p = vectorPage{Name: m["name"], Version: m["version"], Time: m["time"], Author: m["author"], Text: m["text"],
		Comment: m["comment"], OldText: m["old_text"], Readonly: m["readonly"]}
	return nil
}

// pairs are field values in the order in which Trac had them.
type pairs [][2]json.RawMessage

// vectorsOf reads the recorded messages, and those of the file that the
// variable names.
func vectorsOf(t testing.TB, files ...string) []vector {
	if more := os.Getenv("TRACBUS_VECTORS"); more != "" {
		files = append(files, more)
	}
	var all []vector
	for _, name := range files {
		f, err := os.Open(name)
		require.NoError(t, err)
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			var v vector
			require.NoError(t, json.Unmarshal(lines.Bytes(), &v), "%s", name)
			all = append(all, v)
		}
		require.NoError(t, lines.Err())
		require.NoError(t, f.Close())
	}
	require.NotEmpty(t, all)
	return all
}

// deviations are the messages of which ours differ on purpose, or that we
// refuse. Each is a kind of value that Python has and a tracker has no use for.
var deviations = []deviation{
	{
		name: "list", why: "no field of a ticket holds one",
		has: anyValue("$list"), refused: "expected nil, string, bool, number or time.Time",
	},
	{
		name: "date without a time of day", why: "Go has no such type: a tracker sends a string, or midnight",
		has: anyValue("$date"), refused: "expected nil, string, bool, number or time.Time",
	},
	{
		name: "object of another Python type", why: "the plugin cannot send it either",
		has: func(v vector) bool {
			return v.holds(func(o map[string]any) bool {
				for tag := range o {
					if !slices.Contains([]string{"$datetime", "utc_us", "offset_s", "$date", "$float", "$list", "$repeat", "$ranges"}, tag) {
						return true
					}
				}
				return len(o) == 0
			})
		},
		refused: "expected nil, string, bool, number or time.Time",
	},
	{
		name: "ticket without a number", why: "Trac gives every ticket one, from 1, that fits 64 bits",
		has: func(v vector) bool { return v.Call.Ticket != nil && v.ticket().number() < 1 }, refused: "expected a number from 1",
		unrecorded: true,
	},
	{
		name: "time without an offset", why: "it names no instant; Go's times do, so ours has an offset",
		has: anyTime(func(o map[string]any) bool { return o["utc_us"] == nil }),
	},
	{
		name: "offset with a fraction of a second", why: "Go's zones have whole seconds; the instant is kept",
		has: anyTime(func(o map[string]any) bool {
			s, err := strconv.ParseFloat(fmt.Sprint(o["offset_s"]), 64)
			return err == nil && s != math.Trunc(s)
		}),
	},
	{
		name: "page of the year 1", why: "Go's zero time is no time: ours is of now",
		has: func(v vector) bool {
			o, ok := v.page().Time.(map[string]any)
			return ok && fmt.Sprint(o["utc_us"]) == "-62135596800000000"
		},
		unrecorded: true, untold: true,
	},
	{
		name: "readonly as a bool, or another number", why: "it is 0 or 1 in Trac's database, and so on our wire",
		has: func(v vector) bool {
			r := v.page().Readonly
			return r != nil && r != json.Number("0") && r != json.Number("1")
		},
	},
	{
		name: "NaN or infinity", why: "JSON has no such number",
		has: func(v vector) bool {
			return v.holds(func(o map[string]any) bool {
				f, err := strconv.ParseFloat(fmt.Sprint(o["$float"]), 64)
				return err == nil && (math.IsNaN(f) || math.IsInf(f, 0))
			})
		},
		refused: "expected a finite one", unrecorded: true,
	},
}

type deviation struct {
	name, why  string
	has        func(v vector) bool
	refused    string // what the error says; empty where the value is normalised
	untold     bool   // the value is lost
	unrecorded bool   // only other files than ours may have it
}

// anyValue finds vectors with a tagged value.
func anyValue(tag string) func(vector) bool {
	return func(v vector) bool { return v.holds(func(o map[string]any) bool { _, ok := o[tag]; return ok }) }
}

func anyTime(is func(map[string]any) bool) func(vector) bool {
	return func(v vector) bool {
		return v.holds(func(o map[string]any) bool { _, ok := o["$datetime"]; return ok && is(o) })
	}
}

func (v vector) holds(is func(map[string]any) bool) bool {
	values := []any{v.page().Time}
	for _, list := range []pairs{v.ticket().Values, v.Call.OldValues} {
		for _, p := range list {
			var x any
			if json.Unmarshal(p[1], &x) == nil {
				values = append(values, x)
			}
		}
	}
	for _, x := range values {
		if o, ok := x.(map[string]any); ok && is(o) {
			return true
		}
	}
	return false
}

func (v vector) ticket() vectorTicket {
	if v.Call.Ticket == nil {
		return vectorTicket{}
	}
	return *v.Call.Ticket
}

func (v vector) page() vectorPage {
	if v.Call.Page == nil {
		return vectorPage{}
	}
	return *v.Call.Page
}

// event is the call as an application would make it here.
func (v vector) event(t *testing.T) tracbus.Event {
	n := nulls{t: t}
	switch v.Call.Method {
	case "ticket_created":
		return tracbus.TicketCreated{ID: v.ticket().number(), Values: v.ticket().Values.fields(t)}
	case "ticket_deleted":
		return tracbus.TicketDeleted{ID: v.ticket().number(), Values: v.ticket().Values.fields(t)}
	case "ticket_changed":
		c := tracbus.Change{Author: n.text(v.Call.Author, tracbus.AttrAuthor), Comment: n.text(v.Call.Comment, tracbus.AttrComment)}
		c.Null = n.parts
		return tracbus.TicketChanged{Change: c, ID: v.ticket().number(), Values: v.ticket().Values.fields(t), Old: v.Call.OldValues.fields(t)}
	}
	p := v.page()
	page := tracbus.WikiPage{
		Name:    value(t, p.Name).(string),
		Author:  n.text(p.Author, tracbus.AttrAuthor),
		Text:    n.text(p.Text, tracbus.AttrText),
		Comment: n.text(p.Comment, tracbus.AttrComment),
	}
	if p.Time != nil {
		page.Time = value(t, p.Time).(time.Time)
	}
	page.Readonly = p.Readonly != nil && p.Readonly != false && p.Readonly != json.Number("0")
	if p.Readonly == nil {
		n.parts |= tracbus.AttrReadonly
	}
	if version, ok := p.Version.(json.Number); ok {
		page.Version = int64(number(t, version))
	} else {
		n.parts |= tracbus.AttrVersion
	}
	old := n.text(p.OldText, tracbus.AttrOldText)
	c := tracbus.Change{Null: n.parts}
	switch v.Call.Method {
	case "wiki_page_added":
		return tracbus.WikiPageCreated{Change: c, Page: page}
	case "wiki_page_changed":
		return tracbus.WikiPageChanged{Change: c, Page: page, OldText: old}
	case "wiki_page_deleted":
		if page.Time.IsZero() {
			c.Null |= tracbus.AttrTime // the plugin does not know it, and says so
		}
		return tracbus.WikiPageDeleted{Change: c, Page: page}
	}
	t.Fatalf("vector %s: unknown method %q", v.ID, v.Call.Method)
	return nil
}

func (p pairs) fields(t *testing.T) tracbus.Fields {
	f := tracbus.Fields{}
	for _, pair := range p {
		var name string
		require.NoError(t, json.Unmarshal(pair[0], &name))
		f[name] = value(t, pair[1])
	}
	return f
}

// nulls collects the texts that are null.
type nulls struct {
	t     *testing.T
	parts tracbus.Attrs
}

func (n *nulls) text(x any, part tracbus.Attrs) string {
	if x == nil {
		n.parts |= part
		return ""
	}
	return value(n.t, x).(string)
}

// value makes a recorded value what an application would hand in.
func value(t *testing.T, raw any) any {
	switch raw := raw.(type) {
	case json.RawMessage:
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		var x any
		require.NoError(t, d.Decode(&x))
		return value(t, x)
	case json.Number:
		if n, err := raw.Int64(); err == nil {
			return n
		}
		if f, err := raw.Float64(); err == nil && strings.ContainsAny(string(raw), ".eE") {
			return f
		}
	case map[string]any:
		if raw["$datetime"] != nil {
			return timeOf(t, raw)
		}
		for tag, x := range raw {
			return tagged(t, tag, x)
		}
		return struct{}{} // an empty object
	}
	return raw
}

func tagged(t *testing.T, tag string, x any) any {
	switch tag {
	case "$float":
		f, err := strconv.ParseFloat(fmt.Sprint(x), 64)
		require.NoError(t, err)
		return f
	case "$repeat":
		l := x.([]any)
		return strings.Repeat(value(t, l[0]).(string), number(t, l[1]))
	case "$ranges":
		var s strings.Builder
		for _, r := range x.([]any) {
			r := r.([]any)
			for c := number(t, r[0]); c < number(t, r[1]); c += number(t, r[2]) {
				s.WriteRune(rune(c))
			}
		}
		return s.String()
	}
	return struct{ Python any }{x} // what Go has no type for comes in as some type of ours
}

func number(t *testing.T, x any) int {
	n, err := strconv.Atoi(fmt.Sprint(x))
	require.NoError(t, err)
	return n
}

func timeOf(t *testing.T, o map[string]any) time.Time {
	if o["utc_us"] == nil {
		at, err := time.Parse("2006-01-02T15:04:05.999999", o["$datetime"].(string))
		require.NoError(t, err)
		return at
	}
	at := time.UnixMicro(int64(number(t, o["utc_us"]))).UTC()
	offset, err := strconv.ParseFloat(fmt.Sprint(o["offset_s"]), 64)
	require.NoError(t, err)
	if offset == 0 {
		return at
	}
	return at.In(time.FixedZone("", int(offset)))
}

// meaning is a JSON text as a value that compares: numbers exactly, whatever
// the order of keys. Where a deviation is normalised, instants and bools too.
func meaning(t *testing.T, data string, normalised bool) any {
	d := json.NewDecoder(strings.NewReader(data))
	d.UseNumber()
	var x any
	require.NoError(t, d.Decode(&x), "payload %.200s", data)
	var walk func(x any) any
	walk = func(x any) any {
		switch x := x.(type) {
		case json.Number:
			r, ok := new(big.Rat).SetString(string(x))
			require.True(t, ok, "number %s", x)
			return r.String()
		case map[string]any:
			if r := x["readonly"]; normalised && (r == true || r != nil && fmt.Sprint(r) != "0" && r != false) {
				x["readonly"] = json.Number("1")
			}
			for k, v := range x {
				x[k] = walk(v)
			}
		case []any:
			for i, v := range x {
				x[i] = walk(v)
			}
		case string:
			if normalised {
				return instant(x)
			}
		}
		return x
	}
	return walk(x)
}

var isoTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?)(?:([+-])(\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?)?$`)

// instant makes a time of Python's isoformat its microseconds since 1970.
func instant(s string) any {
	m := isoTime.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	at, err := time.Parse("2006-01-02T15:04:05.999999", m[1])
	if err != nil {
		return s
	}
	hours, _ := strconv.Atoi("0" + m[3])
	minutes, _ := strconv.Atoi("0" + m[4])
	seconds, _ := strconv.ParseFloat("0"+m[5], 64)
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds*1e9)
	if m[2] == "-" {
		offset = -offset
	}
	return at.Add(-offset).UnixMicro()
}

// plugin is one configuration of the original: what it is here.
type plugin struct {
	prefix, env string
	all         bool
}

func (v vector) plugin() plugin { return plugin{v.Prefix, v.Env, v.Plugin != "0.1"} }

// rig is a bus that publishes to a Redis, and a raw subscriber to all of it.
type rig struct {
	t      *testing.T
	client *redis.Client
	raw    *redis.PubSub
	buses  map[plugin]*tracbus.Bus
}

func newRig(t *testing.T) *rig {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 100}) // one for each publisher
	raw := client.PSubscribe(t.Context(), "*")
	_, err := raw.Receive(t.Context())
	require.NoError(t, err)
	r := &rig{t: t, client: client, raw: raw, buses: map[plugin]*tracbus.Bus{}}
	t.Cleanup(func() {
		for _, bus := range r.buses {
			assert.NoError(t, bus.Close(context.Background()))
		}
		assert.NoError(t, raw.Close())
		assert.NoError(t, client.Close())
	})
	return r
}

// publish sends an event as the plugin would, and returns what Redis delivered.
func (r *rig) publish(p plugin, e tracbus.Event) (*redis.Message, error) {
	bus := r.buses[p]
	if bus == nil {
		bus = tracbus.NewBus(p.env)
		bus.All(tracbus.Primary, tracbus.NewPublisher(r.client, tracbus.PublisherConfig{
			Prefix: p.prefix, NoPrefix: p.prefix == "", FullNewValues: p.all,
		}))
		r.buses[p] = bus
	}
	if err := bus.Notify(e); err != nil {
		return nil, err
	}
	received, err := r.raw.ReceiveTimeout(r.t.Context(), 10*time.Second)
	if err != nil {
		return nil, err
	}
	return received.(*redis.Message), nil
}

// TestRecordedMessages sends every call that was recorded from the original
// plugin as a typed event, and compares what a subscriber receives from Redis;
// then it reads the recorded message and sends what that became.
func TestRecordedMessages(t *testing.T) {
	rig := newRig(t)
	found := make([]int, len(deviations))
	for _, v := range vectorsOf(t, "testdata/vectors.jsonl") {
		t.Run(fmt.Sprintf("%s/%d", v.ID, v.Step), func(t *testing.T) {
			normalised, refused, untold := false, false, false
			for i, d := range deviations {
				if !d.has(v) {
					continue
				}
				found[i]++
				normalised = true
				untold = untold || d.untold
				if d.refused != "" {
					_, err := rig.publish(v.plugin(), v.event(t))
					require.ErrorContains(t, err, d.refused, "%s: %s", d.name, d.why)
					refused = true
				}
			}
			if !refused {
				sent, err := rig.publish(v.plugin(), v.event(t))
				require.NoError(t, err)
				assert.Equal(t, v.Channel, sent.Channel)
				if untold {
					assert.NotEqual(t, meaning(t, v.Data, normalised), meaning(t, sent.Payload, normalised), "take it off the list")
					return
				}
				assert.Equal(t, meaning(t, v.Data, normalised), meaning(t, sent.Payload, normalised))
			}
			e, err := tracbus.Decode(v.Prefix, v.Channel, v.Data)
			if err != nil && normalised { // what we do not send we need not understand, but must not guess at
				var d *tracbus.DecodeError
				require.ErrorAs(t, err, &d)
				return
			}
			require.NoError(t, err)
			again, err := rig.publish(v.plugin(), e)
			require.NoError(t, err)
			assert.Equal(t, v.Channel, again.Channel)
			assert.Equal(t, meaning(t, v.Data, normalised), meaning(t, again.Payload, normalised))
		})
	}
	for i, d := range deviations {
		t.Logf("deviation: %s (%s): %d messages", d.name, d.why, found[i])
		assert.True(t, d.unrecorded || found[i] > 0, "no message shows the deviation %q: take it off the list", d.name)
	}
}
