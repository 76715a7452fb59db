package journal_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
	"github.com/tracbus/tracbus/internal/testserver"
	"github.com/tracbus/tracbus/tests/desk"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// A realm that this library does not know, from here to the first test: what an
// application writes to have its milestones journaled, told and published.

const milestoneRealm tracbus.Realm = "milestone"

// milestoneTable is the application's own.
const milestoneTable = `CREATE TABLE milestone (name varchar(200) PRIMARY KEY, due bigint, description varchar(2000) NOT NULL)`

type Milestone struct {
	Name        string
	Due         time.Time // zero if nobody knows
	Description string
}

type MilestoneCreated struct {
	tracbus.Change
	Milestone Milestone
}

type MilestoneChanged struct {
	tracbus.Change
	Milestone Milestone // after the change
	Before    Milestone
}

type MilestoneDeleted struct {
	tracbus.Change
	Milestone Milestone // as it was at last
}

func (m Milestone) resource() tracbus.Resource {
	return tracbus.Resource{Realm: milestoneRealm, ID: m.Name}
}

// fields returns all but the name.
func (m Milestone) fields() tracbus.Fields {
	f := tracbus.Fields{"due": nil, "description": m.Description}
	if !m.Due.IsZero() {
		f["due"] = m.Due
	}
	return f
}

func (e MilestoneCreated) Resource() tracbus.Resource { return e.Milestone.resource() }
func (e MilestoneChanged) Resource() tracbus.Resource { return e.Milestone.resource() }
func (e MilestoneDeleted) Resource() tracbus.Resource { return e.Milestone.resource() }

func (MilestoneCreated) Kind() tracbus.Kind { return tracbus.KindCreated }
func (MilestoneChanged) Kind() tracbus.Kind { return tracbus.KindChanged }
func (MilestoneDeleted) Kind() tracbus.Kind { return tracbus.KindDeleted }

func (e MilestoneCreated) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }
func (e MilestoneChanged) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }
func (e MilestoneDeleted) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }

func (e MilestoneCreated) Entry() tracbus.Entry {
	return tracbus.Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.Change, State: e.Milestone.fields()}
}

func (e MilestoneDeleted) Entry() tracbus.Entry {
	return tracbus.Entry{Resource: e.Resource(), Kind: e.Kind(), Change: e.Change, State: e.Milestone.fields()}
}

func (e MilestoneChanged) Entry() tracbus.Entry {
	entry := tracbus.Entry{
		Resource: e.Resource(), Kind: e.Kind(), Change: e.Change,
		State: tracbus.Fields{}, New: tracbus.Fields{}, Old: tracbus.Fields{},
	}
	before := e.Before.fields()
	for name, v := range e.Milestone.fields() {
		if v == before[name] {
			entry.State[name] = v
		} else {
			entry.New[name], entry.Old[name] = v, before[name]
		}
	}
	return entry
}

// Payload has milestones published on <prefix>.<env>.milestone.changed.<name>.
func (e MilestoneChanged) Payload() ([]byte, error) {
	return json.Marshal(map[string]any{"name": e.Milestone.Name, "description": e.Milestone.Description, "author": e.Author})
}

// Milestones is the realm.
type Milestones struct{}

func (Milestones) Realm() tracbus.Realm { return milestoneRealm }

func (Milestones) Event(e tracbus.Entry) (tracbus.Event, error) {
	m := milestoneOf(e.Resource.ID, e.NewState())
	switch e.Kind {
	case tracbus.KindCreated:
		return MilestoneCreated{e.Change, m}, nil
	case tracbus.KindChanged:
		return MilestoneChanged{e.Change, m, milestoneOf(e.Resource.ID, tracbus.Entry{State: e.NewState(), New: e.Old}.NewState())}, nil
	case tracbus.KindDeleted:
		return MilestoneDeleted{e.Change, m}, nil
	}
	return nil, fmt.Errorf("milestones have no kind %q", e.Kind)
}

func milestoneOf(name string, f tracbus.Fields) Milestone {
	due, _ := f.Time("due")
	return Milestone{Name: name, Due: due, Description: f.Text("description")}
}

// MilestoneEdit is the model.
type MilestoneEdit struct{ Milestone }

func (e MilestoneEdit) Resource() tracbus.Resource { return e.resource() }

func (e MilestoneEdit) Save(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	before, err := e.stored(ctx, tx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return MilestoneCreated{Milestone: e.Milestone}, e.run(ctx, tx, `INSERT INTO milestone (due, description, name) VALUES (?, ?, ?)`, e.due(), e.Description, e.Name)
	case err != nil || before == e.Milestone:
		return nil, err
	}
	return MilestoneChanged{Milestone: e.Milestone, Before: before},
		e.run(ctx, tx, `UPDATE milestone SET due = ?, description = ? WHERE name = ?`, e.due(), e.Description, e.Name)
}

func (e MilestoneEdit) Delete(ctx context.Context, tx *tracbus.ModelTransaction) (tracbus.Event, error) {
	last, err := e.stored(ctx, tx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("milestone %q: %w", e.Name, tracbus.ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	return MilestoneDeleted{Milestone: last}, e.run(ctx, tx, `DELETE FROM milestone WHERE name = ?`, e.Name)
}

// stored reads the row as it is; the transaction has locked the milestone.
func (e MilestoneEdit) stored(ctx context.Context, tx *tracbus.ModelTransaction) (Milestone, error) {
	m := Milestone{Name: e.Name}
	var due sql.NullInt64
	err := tx.SQL().QueryRowContext(ctx, desk.Marks(tx.Dialect(), `SELECT due, description FROM milestone WHERE name = ?`), e.Name).Scan(&due, &m.Description)
	if due.Valid {
		m.Due = time.UnixMicro(due.Int64).UTC()
	}
	return m, err
}

func (e MilestoneEdit) due() sql.NullInt64 {
	return sql.NullInt64{Int64: e.Due.UnixMicro(), Valid: !e.Due.IsZero()}
}

func (e MilestoneEdit) run(ctx context.Context, tx *tracbus.ModelTransaction, text string, args ...any) error {
	_, err := tx.SQL().ExecContext(ctx, desk.Marks(tx.Dialect(), text), args...)
	return err
}

// TestARealmOfOnesOwn shows that a realm costs one file and its tables: the
// milestones above are stored, told in this process and another, read back and
// published, and a process that does not know them follows on.
func TestARealmOfOnesOwn(t *testing.T) {
	testdatabase.Each(t, func(t *testing.T, s *testdatabase.Server) {
		testkit.NoLeaks(t)
		dsn := s.DSN(s.Name())
		_, err := s.Open(t, dsn).Exec(milestoneTable)
		require.NoError(t, err)
		realms := []tracbus.JournalRealm{tracbus.Pages{}, Milestones{}}
		here := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: realms}})
		there := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: realms}})
		var log testkit.LogRecorder
		stranger := desk.Seat(t, s, dsn, desk.Config{Journal: tracbus.JournalConfig{Realms: []tracbus.JournalRealm{tracbus.Pages{}}, Logger: slog.New(&log)}})

		changes := make(chan MilestoneChanged, 10)
		tracbus.On(there.Bus, tracbus.Everywhere, func(_ context.Context, e MilestoneChanged) error {
			changes <- e
			return nil
		})
		redis := testserver.Redis(t, testserver.RedisOptions{})
		ear := testkit.NewEar(t, testkit.HastyClient(t, redis.Addr()))
		publisher := tracbus.NewPublisher(testkit.PatientClient(t, redis.Addr()), tracbus.PublisherConfig{Logger: slog.New(slog.DiscardHandler)})
		here.Bus.All(tracbus.Primary, publisher)
		t.Cleanup(publisher.Close)

		ctx := testkit.Within(t)
		v1 := Milestone{"1.0 äöü", time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC), "First"}
		v2 := Milestone{v1.Name, time.Time{}, "First; when it is done"}
		save := func(m Milestone) func(tx *tracbus.ModelTransaction) error {
			return func(tx *tracbus.ModelTransaction) error { return tx.Save(ctx, MilestoneEdit{m}) }
		}
		var tids []int64
		for _, f := range []func(tx *tracbus.ModelTransaction) error{
			save(v1), save(v2), save(v2), // the third changes nothing
			func(tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, MilestoneEdit{v2}) },
		} {
			tid, err := here.Update(ctx, desk.Joe, f)
			require.NoError(t, err)
			tids = append(tids, tid)
		}
		require.Zero(t, tids[2], "the tid of a save that changed nothing")
		_, err = here.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error { return tx.Delete(ctx, MilestoneEdit{v2}) })
		require.ErrorIs(t, err, tracbus.ErrNotFound)
		require.ErrorIs(t, err, tracbus.ErrNotCommitted)
		page := tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "1.0", Version: 1, Author: "joe", Time: time.Unix(1, 0).UTC()}}
		last, err := here.Update(ctx, desk.Joe, func(tx *tracbus.ModelTransaction) error {
			// A process that knows one of two realms is told of that one.
			return cmp.Or(tx.Save(ctx, MilestoneEdit{v1}), tx.Record(ctx, page))
		})
		require.NoError(t, err)

		told := func(d *desk.Desk) []tracbus.Event {
			require.NoError(t, d.Wait(ctx, last))
			all, _ := d.Heard()
			return all
		}
		want := []tracbus.Event{MilestoneCreated{Milestone: v1}, MilestoneChanged{Milestone: v2, Before: v1}, MilestoneDeleted{Milestone: v2}, MilestoneCreated{Milestone: v1}, page}
		require.Equal(t, want, bare(told(here)), "told where it was made")
		require.Equal(t, told(here), primary(told(there)), "told in another process")
		require.Equal(t, []tracbus.Event{page}, bare(told(stranger)), "told in a process that does not know milestones")
		require.Empty(t, log.With(""), "what that process logged")
		change := <-changes
		require.Equal(t, MilestoneChanged{change.Change, v2, v1}, change)
		require.Equal(t, tracbus.Change{
			Env: "desk", TID: tids[1], CommitID: change.CommitID, Time: change.Time, Author: desk.Joe.Author, IPNR: desk.Joe.IPNR, Authenticated: true,
		}, change.Change)

		var history []tracbus.Event
		for e, err := range there.History(ctx, v1.resource()) {
			require.NoError(t, err)
			history = append(history, e)
		}
		require.Equal(t, told(here)[:4], primary(history), "the history of the milestone")

		// Only the change has a Payload.
		require.NoError(t, here.Bus.Wait(ctx))
		testkit.Until(t, "Redis has delivered two messages", func() bool { return ear.Heard.Load() >= 2 })
		messages := ear.All()
		require.Equal(t, "trac.desk.milestone.changed.1.0 äöü", messages[0].Channel)
		require.JSONEq(t, `{"name": "1.0 äöü", "description": "First; when it is done", "author": "joe"}`, messages[0].Payload)
		require.Equal(t, "trac.desk.wiki.created", messages[1].Channel)
		require.Zero(t, publisher.Stats().Rejected)
	})
}

// ill is an event of one's own whose payload is whatever a test wants.
type ill struct {
	tracbus.Change
	id      tracbus.Resource
	payload func() ([]byte, error)
}

func (e ill) Resource() tracbus.Resource                { return e.id }
func (ill) Kind() tracbus.Kind                          { return tracbus.KindChanged }
func (e ill) WithChange(c tracbus.Change) tracbus.Event { e.Change = c; return e }
func (e ill) Payload() ([]byte, error)                  { return e.payload() }
func says(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}
func illOf(realm string, p func() ([]byte, error)) (e ill) {
	return ill{id: tracbus.Resource{Realm: tracbus.Realm(realm), ID: "x"}, payload: p}
}
func (e ill) Entry() tracbus.Entry {
	return tracbus.Entry{Resource: e.id, Kind: e.Kind(), Change: e.Change}
}

// A payload from outside that fails, panics, or is none, is refused, and what
// comes behind it goes out.
func TestPayloadsOfOnesOwn(t *testing.T) {
	testkit.NoLeaks(t)
	redis := testserver.Redis(t, testserver.RedisOptions{})
	ear := testkit.NewEar(t, testkit.HastyClient(t, redis.Addr()))
	var log testkit.LogRecorder
	publisher := tracbus.NewPublisher(testkit.PatientClient(t, redis.Addr()), tracbus.PublisherConfig{Logger: slog.New(&log), SkipRealms: []tracbus.Realm{"skipped"}})
	t.Cleanup(publisher.Close)
	bus := tracbus.NewBus("test")
	bus.All(tracbus.Primary, publisher)

	bad := map[string]ill{
		"out of ideas":           illOf("r1", func() ([]byte, error) { return nil, errors.New("out of ideas") }),
		"panic: out of tea":      illOf("r2", func() ([]byte, error) { panic("out of tea") }),
		"payload \"null\"":       illOf("r3", says(`null`)),
		"found the end":          illOf("r4", says(`{"a": 1`)),
		"UTF-8":                  illOf("r5", says("{\"a\": \"\xff\"}")),
		`realm "a.b"`:            illOf("a.b", says(`{}`)),
		`realm "ticket.created"`: illOf("ticket.created", says(`{}`)),
		`realm ""`:               illOf("", says(`{}`)),
	}
	for word, e := range bad {
		require.NoError(t, bus.Notify(e), word)
		_, _, err := tracbus.PublisherConfig{}.Encode(e.WithChange(tracbus.Change{Env: "test"}))
		require.ErrorContains(t, err, word)
	}
	require.NoError(t, bus.Notify(illOf("skipped", says(`{}`)), MilestoneDeleted{}, illOf("good", says(`{"a": [1, {"b": null}]}`))))
	require.NoError(t, bus.Close(testkit.Within(t)))

	testkit.Until(t, "Redis has delivered the last", func() bool { return ear.Heard.Load() > 0 })
	require.Len(t, ear.All(), 1)
	require.Equal(t, "trac.test.good.changed.x", ear.All()[0].Channel)
	require.Equal(t, `{"a": [1, {"b": null}]}`, ear.All()[0].Payload)
	require.Equal(t, uint64(len(bad)), publisher.Stats().Rejected)
	for word := range bad {
		require.Len(t, log.With(word), 1, "lines with %q", word)
	}
	_, err := tracbus.Decode("trac", ear.All()[0].Channel, ear.All()[0].Payload)
	require.ErrorIs(t, err, tracbus.ErrUnknownChannel)
}

// bare returns events without what a journal fills in.
func bare(events []tracbus.Event) (all []tracbus.Event) {
	for _, e := range events {
		all = append(all, e.WithChange(tracbus.Change{}))
	}
	return all
}

// primary returns events as they are told where they are made.
func primary(events []tracbus.Event) (all []tracbus.Event) {
	for _, e := range events {
		c := e.About()
		c.Primary = true
		all = append(all, e.WithChange(c))
	}
	return all
}
