package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// chance makes random events of all kinds.
type chance struct {
	*rand.Rand
	noNUL bool // PostgreSQL stores no U+0000
}

var alphabet = []rune("ab Z09_.,:;/\\'\"`%{}[]()<>&*?\t\r\n\x01\x1a\x1f\x7f\u0085\u00a0äß\u0301\u200b\u2028\u2029\u202e\ufeff\ufffd\uffff漢字אب\U0001f600\U0001f468\u200d\U0001f469\U0010ffff")

func (c chance) text() string {
	var b strings.Builder
	for range c.IntN(12) {
		if r := c.IntN(len(alphabet) + 1); r < len(alphabet) {
			b.WriteRune(alphabet[r])
		} else if !c.noNUL {
			b.WriteByte(0)
		}
	}
	if c.IntN(40) == 0 {
		b.WriteString(strings.Repeat("long ", 20000))
	}
	return b.String()
}

func (c chance) time() time.Time {
	year := []int{1, 2, 1600, 1969, 1970, 1999, 2024, 2038, 9998}[c.IntN(9)]
	t := time.Date(year, 1, 2+c.IntN(360), c.IntN(24), c.IntN(60), c.IntN(60), c.IntN(1e9), time.UTC)
	return t.In(time.FixedZone("", 60*(c.IntN(2*1439)-1439)))
}

func (c chance) value() any {
	switch c.IntN(12) {
	case 0:
		return nil
	case 1:
		return ""
	case 2:
		return c.IntN(2) == 0
	case 3:
		return json.Number(fmt.Sprintf("%d%s", 1+c.IntN(9), strings.Repeat("0123456789", c.IntN(40))))
	case 4:
		return json.Number(fmt.Sprintf("-0.%s%dE-%d", strings.Repeat("0", c.IntN(30)), c.IntN(10), c.IntN(500)))
	case 5:
		return c.Int64() - c.Int64()
	case 6:
		return c.NormFloat64()
	case 7, 8:
		return c.time()
	}
	return c.text()
}

// fields returns nil, empty or full fields.
func (c chance) fields() tracbus.Fields {
	n := c.IntN(8) - 1
	if n < 0 {
		return nil
	}
	f := tracbus.Fields{}
	for range n {
		name := []string{"summary", "owner", "id", "time", "=", "==x", "=-", "=deleted"}[c.IntN(8)]
		if c.IntN(4) == 0 {
			name = "f" + c.text()
		}
		if len(name) < 1000 {
			f[name] = c.value()
		}
	}
	return f
}

// change returns a ticket's values, and of some the new and old ones.
func (c chance) change() (values, fresh, old tracbus.Fields) {
	values, old = c.fields(), c.fields()
	switch {
	case values == nil && len(old) > 0:
		fresh = tracbus.Fields{}
	case c.IntN(2) == 0:
		return values, nil, old
	default:
		fresh = c.fields()
	}
	for name := range old {
		if c.IntN(4) > 0 && fresh != nil {
			fresh[name] = c.value()
		}
	}
	for name, v := range fresh {
		if c.IntN(4) > 0 && values != nil {
			values[name] = v
		}
	}
	return values, fresh, old
}

func (c chance) page() tracbus.WikiPage {
	p := tracbus.WikiPage{
		Name: "p" + strings.ReplaceAll(strings.ReplaceAll(c.text(), "/", "-"), "long ", ""), Version: c.Int64N(1 << c.IntN(60)),
		Text: c.text(), Author: c.text(), Comment: c.text(), Readonly: c.IntN(2) == 0,
	}
	if c.IntN(4) > 0 {
		p.Time = c.time()
	}
	return p
}

func (c chance) event() tracbus.Event {
	change, id := tracbus.Change{Comment: c.text()}, 1+c.Int64N(1<<c.IntN(62))
	if c.IntN(2) == 0 {
		change.Time = c.time()
	}
	if c.IntN(8) == 0 {
		change.Null = tracbus.Attrs(1 << c.IntN(7))
	}
	switch c.IntN(11) {
	case 0:
		return tracbus.TicketCreated{Change: change, ID: id, Values: c.fields()}
	case 1:
		return tracbus.TicketDeleted{Change: change, ID: id, Values: c.fields()}
	case 2:
		return tracbus.TicketCommentEdited{Change: change, ID: id, CommentTime: c.time(), OldComment: c.text()}
	case 3:
		return tracbus.TicketChangeDeleted{Change: change, ID: id, ChangeTime: c.time(), New: c.fields(), Old: c.fields()}
	case 4:
		return tracbus.WikiPageCreated{Change: change, Page: c.page()}
	case 5:
		return tracbus.WikiPageChanged{Change: change, Page: c.page(), OldText: c.text()}
	case 6:
		return tracbus.WikiPageDeleted{Change: change, Page: c.page()}
	case 7:
		return tracbus.WikiPageRenamed{Change: change, Page: c.page(), OldName: c.page().Name}
	case 8:
		return tracbus.WikiPageVersionDeleted{Change: change, Page: c.page()}
	case 9:
		return tracbus.WikiPageCommentEdited{Change: change, Page: c.page(), OldComment: c.text()}
	}
	e := tracbus.TicketChanged{Change: change, ID: id}
	e.Values, e.New, e.Old = c.change()
	return e
}

// inUTC returns an event with its times in UTC, as a journal gives them back.
func inUTC(e tracbus.Event) tracbus.Event {
	c := e.About()
	c.Time = c.Time.UTC()
	fields := func(f tracbus.Fields) {
		for name, v := range f {
			if t, ok := v.(time.Time); ok {
				f[name] = t.UTC()
			}
		}
	}
	page := func(p *tracbus.WikiPage) { p.Time = p.Time.UTC() }
	switch e := e.WithChange(c).(type) {
	case tracbus.TicketCreated:
		fields(e.Values)
		return e
	case tracbus.TicketDeleted:
		fields(e.Values)
		return e
	case tracbus.TicketChanged:
		fields(e.Values)
		fields(e.New)
		fields(e.Old)
		return e
	case tracbus.TicketCommentEdited:
		e.CommentTime = e.CommentTime.UTC()
		return e
	case tracbus.TicketChangeDeleted:
		e.ChangeTime = e.ChangeTime.UTC()
		fields(e.New)
		fields(e.Old)
		return e
	case tracbus.WikiPageCreated:
		page(&e.Page)
		return e
	case tracbus.WikiPageChanged:
		page(&e.Page)
		return e
	case tracbus.WikiPageDeleted:
		page(&e.Page)
		return e
	case tracbus.WikiPageRenamed:
		page(&e.Page)
		return e
	case tracbus.WikiPageVersionDeleted:
		page(&e.Page)
		return e
	case tracbus.WikiPageCommentEdited:
		page(&e.Page)
		return e
	}
	return nil
}

// TestOneEvent: for random histories, an event is the same, in its values and
// their types, where it was made, in another process, after a restart, on replay
// and as a bus without a journal tells it; and what Redis carries of it is its
// encoding.
func TestOneEvent(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		c := chance{rand.New(rand.NewPCG(seed, 1)), s.Dialect == "postgresql"}
		dsn := s.DSN(s.Name())
		redis := testserver.Redis(t, testserver.RedisOptions{})
		ear := testkit.NewEar(t, testkit.HastyClient(t, redis.Addr()))
		config := tracbus.PublisherConfig{ExtraEvents: true, Logger: slog.New(slog.DiscardHandler)}
		publisher := tracbus.NewPublisher(testkit.PatientClient(t, redis.Addr()), config)
		t.Cleanup(publisher.Close)
		here := desk.Seat(t, s, dsn, desk.Config{Before: func(b *tracbus.Bus) { b.All(tracbus.Primary, publisher) }})
		there := desk.Seat(t, s, dsn, desk.Config{})
		var alone []tracbus.Event // what a bus without a journal tells
		bus := tracbus.NewBus("desk")
		tracbus.On(bus, tracbus.Primary, func(_ context.Context, e tracbus.Event) error {
			alone = append(alone, e)
			return nil
		})

		var last int64
		for range 60 {
			who := tracbus.Actor{Author: c.text(), IPNR: c.text(), Authenticated: c.IntN(2) == 0}
			var made []tracbus.Event
			resources := map[tracbus.Resource]bool{} // two changes of one would be told as one
			for range 1 + c.IntN(5) {
				if e := c.event(); !resources[e.Resource()] {
					resources[e.Resource()] = true
					made = append(made, e)
				}
			}
			var now time.Time
			tid, err := here.Update(testkit.Within(t), who, func(tx *tracbus.ModelTransaction) error {
				now = tx.Time()
				for _, e := range made {
					if err := tx.Record(testkit.Within(t), e); err != nil {
						return err
					}
				}
				return nil
			})
			require.NoError(t, err, "seed %d", seed)
			for i, e := range made {
				change := e.About()
				change.TID, change.Seq = tid, i
				change.Author, change.IPNR, change.Authenticated = who.Author, who.IPNR, who.Authenticated
				if change.Time.IsZero() {
					change.Time = now
				}
				require.NoError(t, bus.Notify(e.WithChange(change)))
			}
			last = tid
		}
		require.NoError(t, bus.Close(testkit.Within(t)))
		require.NoError(t, here.Wait(testkit.Within(t), last))
		require.NoError(t, there.Wait(testkit.Within(t), last))

		restarted := desk.Seat(t, s, dsn, desk.Config{Idle: true})
		replayed := readBack(t, restarted)
		made, _ := here.Heard()
		heard, _ := there.Heard()
		require.Len(t, made, len(alone))
		require.Len(t, heard, len(alone))
		require.Len(t, replayed, len(alone))
		for i, want := range alone {
			signed := want.About()
			signed.CommitID = made[i].About().CommitID // which only the journal knows
			require.NotEmpty(t, signed.CommitID)
			want = inUTC(want.WithChange(signed))
			require.Equal(t, want, made[i], "seed %d: primary", seed)
			require.True(t, made[i].About().Primary)
			require.False(t, heard[i].About().Primary)
			require.False(t, replayed[i].About().Primary)
			require.Equal(t, want, primary(heard[i : i+1])[0], "seed %d: secondary", seed)
			require.Equal(t, want, primary(replayed[i : i+1])[0], "seed %d: replayed", seed)
			found := 0
			for e, err := range restarted.History(testkit.Within(t), want.Resource()) {
				require.NoError(t, err)
				if e.About().TID == want.About().TID && e.About().Seq == want.About().Seq {
					found++
					require.Equal(t, want, primary([]tracbus.Event{e})[0], "seed %d: history", seed)
				}
			}
			require.Equal(t, 1, found, "seed %d: in the history of %s", seed, want.Resource())
		}
		testkit.Until(t, "Redis has delivered all", func() bool { return ear.Heard.Load() >= int64(len(alone)) })
		messages := ear.All()
		require.Len(t, messages, len(alone))
		for i, want := range alone {
			channel, payload, err := config.Encode(inUTC(want))
			require.NoError(t, err)
			require.Equal(t, channel, messages[i].Channel, "seed %d", seed)
			require.Equal(t, payload, messages[i].Payload, "seed %d", seed)
		}
	})
}
