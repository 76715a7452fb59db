package figures

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// lines returns readings as "name{label="value"} number".
func lines(all []Reading) (lines []string) {
	for _, r := range all {
		var labels []string
		for i, name := range r.Figure.Labels[1:] { // behind the journal, of which it is always
			labels = append(labels, fmt.Sprintf("%s=%q", name, r.Labels[i+1]))
		}
		lines = append(lines, fmt.Sprintf("%s{%s} %v", r.Figure.Name, strings.Join(labels, ","), r.Value))
	}
	return lines
}

func ofJournal(s tracbus.JournalStatus, err error, now time.Time) []Reading {
	var r readings
	r.journal(s, err, now)
	return r.all
}

func TestJournal(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := tracbus.JournalStatus{
		UUID: "u", Realms: []string{"ticket", "wiki"}, Head: 1<<48 - 1, Committed: 18, Position: 17, PrunedTo: 3, Running: true,
		Blockers: []tracbus.Blocker{{Session: "pid 4", Age: 1500 * time.Millisecond}, {Session: "pid 5", Age: time.Second}},
		Consumers: []tracbus.ConsumerStatus{
			{Name: "mail", TID: 15, Lag: 2, LagAge: 250 * time.Millisecond, Holder: "web1, pid 7", HeldHere: true, Token: 4, LeaseRemaining: time.Second, LeaseAge: time.Minute, DeadLetters: 1},
			{Name: "redis", TID: 9, Lag: 8, LagAge: time.Hour, Err: "no route", FailingFor: 90 * time.Second, LeaseAge: -time.Second},
		},
	}
	known := []string{
		`journal.info{uuid="u",realms="ticket,wiki"} 1`, `journal.answered{} 1`, `journal.position_tid{} 17`, `journal.followed{} 1`, `journal.failing{} 0`,
	}
	asked := []string{
		`journal.head_tid{} 2.81474976710655e+14`, `journal.committed_tid{} 18`, `journal.pruned_tid{} 3`, `journal.blockers{} 2`, `journal.blocked{} 1.5`,
	}
	assert.Equal(t, slices.Concat(known, asked, []string{
		`consumer.tid{consumer="mail"} 15`, `consumer.lag_changes{consumer="mail"} 2`, `consumer.lag{consumer="mail"} 0.25`,
		`consumer.leased{consumer="mail"} 1`, `consumer.leased_here{consumer="mail"} 1`, `consumer.lease_token{consumer="mail"} 4`, `consumer.lease_age{consumer="mail"} 60`,
		`consumer.failing{consumer="mail"} 0`, `consumer.dead_letters{consumer="mail"} 1`,
		`consumer.tid{consumer="redis"} 9`, `consumer.lag_changes{consumer="redis"} 8`, `consumer.lag{consumer="redis"} 3600`,
		`consumer.leased{consumer="redis"} 0`, `consumer.leased_here{consumer="redis"} 0`, `consumer.lease_token{consumer="redis"} 0`, `consumer.lease_age{consumer="redis"} 0`,
		`consumer.failing{consumer="redis"} 90`, `consumer.dead_letters{consumer="redis"} 0`,
	}), lines(ofJournal(s, nil, now)))

	s.Consumers = []tracbus.ConsumerStatus{{Name: "new", Err: "it began in this moment"}}
	assert.Contains(t, lines(ofJournal(s, nil, now)), `consumer.failing{consumer="new"} 1e-06`)

	s.Consumers, s.Capture = nil, tracbus.CaptureStatus{Captured: []string{"ticket", "wiki"}, Wrong: []string{"x"}, Waiting: 3, Err: errors.New("no"), ErrSince: now.Add(-time.Second)}
	assert.Equal(t, slices.Concat(known, asked, []string{
		`capture.tables{} 2`, `capture.wrong{} 1`, `capture.waiting{} 3`, `capture.failing{} 1`,
	}), lines(ofJournal(s, nil, now)))

	s.Err, s.ErrSince = errors.New("the database is away"), now.Add(-time.Minute)
	away := tracbus.JournalStatus{UUID: s.UUID, Realms: s.Realms, Position: 17, Running: true, Err: s.Err, ErrSince: s.ErrSince}
	assert.Equal(t, []string{
		known[0], `journal.answered{} 0`, known[2], `journal.followed{} 0`, `journal.failing{} 60`,
	}, lines(ofJournal(away, errors.New("it does not answer"), now)), "without what only the database knows")
	away.ErrSince = now
	assert.Contains(t, lines(ofJournal(away, nil, now)), `journal.failing{} 1e-06`)
}

// Each field of a status makes a difference, or there is a reason why not: a field that is new is
// noticed here.
func TestEverythingIsWatched(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	no, earlier := errors.New("no"), now.Add(-time.Hour)
	journal := func(s tracbus.JournalStatus) []Reading { return ofJournal(s, nil, now) }
	const text = "a text, which the log has"
	compare(t, journal, tracbus.JournalStatus{ErrSince: now}, map[string]func(*tracbus.JournalStatus){
		"UUID": func(s *tracbus.JournalStatus) { s.UUID = "u" }, "Realms": func(s *tracbus.JournalStatus) { s.Realms = []string{"wiki"} },
		"Head": func(s *tracbus.JournalStatus) { s.Head = 1 }, "Committed": func(s *tracbus.JournalStatus) { s.Committed = 1 }, "Position": func(s *tracbus.JournalStatus) { s.Position = 1 },
		"PrunedTo": func(s *tracbus.JournalStatus) { s.PrunedTo = 1 }, "Running": func(s *tracbus.JournalStatus) { s.Running = true },
		"Blockers":  func(s *tracbus.JournalStatus) { s.Blockers = []tracbus.Blocker{{}} },
		"Consumers": func(s *tracbus.JournalStatus) { s.Consumers = []tracbus.ConsumerStatus{{}} },
		"Capture":   func(s *tracbus.JournalStatus) { s.Capture.Wrong = []string{"x"} },
		"WriteOnly": func(s *tracbus.JournalStatus) { s.WriteOnly = true },
		"Err":       func(s *tracbus.JournalStatus) { s.Err = no },
	}, map[string]string{"ErrSince": "shown with Err, in TestJournal", "Env": "the label journal, in TestName"})
	compare(t, func(c tracbus.CaptureStatus) []Reading { return journal(tracbus.JournalStatus{Capture: c}) },
		tracbus.CaptureStatus{Captured: []string{"wiki"}, ErrSince: earlier}, map[string]func(*tracbus.CaptureStatus){
			"Captured": func(c *tracbus.CaptureStatus) { c.Captured = []string{"ticket", "wiki"} },
			"Wrong":    func(c *tracbus.CaptureStatus) { c.Wrong = []string{"x"} },
			"Waiting":  func(c *tracbus.CaptureStatus) { c.Waiting = 1 }, "Err": func(c *tracbus.CaptureStatus) { c.Err = no },
		}, map[string]string{"ErrSince": "shown with Err, in TestJournal"})
	compare(t, func(b tracbus.Blocker) []Reading {
		return journal(tracbus.JournalStatus{Blockers: []tracbus.Blocker{b}})
	},
		tracbus.Blocker{}, map[string]func(*tracbus.Blocker){"Age": func(b *tracbus.Blocker) { b.Age = time.Second }}, map[string]string{"Session": text})
	compare(t, func(c tracbus.ConsumerStatus) []Reading {
		return journal(tracbus.JournalStatus{Consumers: []tracbus.ConsumerStatus{c}})
	}, tracbus.ConsumerStatus{Holder: "web1", LeaseRemaining: time.Second, Err: "no"}, map[string]func(*tracbus.ConsumerStatus){
		"Name": func(c *tracbus.ConsumerStatus) { c.Name = "mail" }, "TID": func(c *tracbus.ConsumerStatus) { c.TID = 1 },
		"Holder": func(c *tracbus.ConsumerStatus) { c.Holder = "" }, "HeldHere": func(c *tracbus.ConsumerStatus) { c.HeldHere = true },
		"Token": func(c *tracbus.ConsumerStatus) { c.Token = 1 }, "LeaseAge": func(c *tracbus.ConsumerStatus) { c.LeaseAge = 1 },
		"LeaseRemaining": func(c *tracbus.ConsumerStatus) { c.LeaseRemaining = 0 },
		"Lag":            func(c *tracbus.ConsumerStatus) { c.Lag = 1 }, "LagAge": func(c *tracbus.ConsumerStatus) { c.LagAge = time.Second },
		"Err": func(c *tracbus.ConsumerStatus) { c.Err = "" }, "FailingFor": func(c *tracbus.ConsumerStatus) { c.FailingFor = time.Second },
		"DeadLetters": func(c *tracbus.ConsumerStatus) { c.DeadLetters = 1 },
	}, map[string]string{"Seq": "the place within a transaction, which is of a moment"})
	compare(t, func(l tracbus.ListenerStatus) []Reading {
		var r readings
		r.listeners([]tracbus.ListenerStatus{l})
		return r.all
	}, tracbus.ListenerStatus{Scope: tracbus.Primary}, map[string]func(*tracbus.ListenerStatus){
		"Listener": func(l *tracbus.ListenerStatus) { l.Listener = "x" }, "Scope": func(l *tracbus.ListenerStatus) { l.Scope = tracbus.Everywhere },
		"Waiting": func(l *tracbus.ListenerStatus) { l.Waiting = 1 }, "Delivered": func(l *tracbus.ListenerStatus) { l.Delivered = 1 },
		"Failed": func(l *tracbus.ListenerStatus) { l.Failed = 1 }, "Retried": func(l *tracbus.ListenerStatus) { l.Retried = 1 },
		"Dropped": func(l *tracbus.ListenerStatus) { l.Dropped = 1 },
	}, map[string]string{"LastError": text})
	compare(t, func(p tracbus.PublisherStats) []Reading {
		var r readings
		r.publishers([]tracbus.PublisherStats{p}, now)
		return r.all
	}, tracbus.PublisherStats{Disconnected: true, Since: now}, map[string]func(*tracbus.PublisherStats){
		"Published": func(p *tracbus.PublisherStats) { p.Published = 1 }, "NoReceivers": func(p *tracbus.PublisherStats) { p.NoReceivers = 1 },
		"Rejected": func(p *tracbus.PublisherStats) { p.Rejected = 1 }, "Dropped": func(p *tracbus.PublisherStats) { p.Dropped = 1 },
		"Unacknowledged": func(p *tracbus.PublisherStats) { p.Unacknowledged = 1 }, "Resent": func(p *tracbus.PublisherStats) { p.Resent = 1 },
		"Waiting": func(p *tracbus.PublisherStats) { p.Waiting = 1 }, "Disconnected": func(p *tracbus.PublisherStats) { p.Disconnected = false },
		"Since": func(p *tracbus.PublisherStats) { p.Since = earlier },
	}, map[string]string{"LastError": text})
}

// compare reads a status, and again with each of its fields changed.
func compare[T any](t *testing.T, read func(T) []Reading, base T, changes map[string]func(*T), apart map[string]string) {
	t.Helper()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		change, ok := changes[field.Name]
		if !ok {
			assert.NotEmpty(t, apart[field.Name], "%T.%s: expected a figure that shows it", base, field.Name)
			continue
		}
		changed := base
		change(&changed)
		assert.NotEqual(t, lines(read(base)), lines(read(changed)), "%T.%s", base, field.Name)
	}
}

// Listeners of one name are added up, because a figure has one value; publishers are numbered.
func TestListenersAndPublishers(t *testing.T) {
	testkit.NoLeaks(t)
	bus := tracbus.NewBus("test")
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	p := tracbus.NewPublisher(client, tracbus.PublisherConfig{})
	for range 2 {
		tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.WikiPageCreated) error { return nil })
	}
	bus.All(tracbus.Primary, p)
	require.NoError(t, bus.Notify(tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "A", Version: 1}}))
	require.NoError(t, bus.Wait(testkit.Within(t)))
	require.NoError(t, bus.Close(testkit.Within(t))) // and the publisher, with its answers

	source := Source{Bus: bus, Publishers: []*tracbus.Publisher{p, p}}
	all := lines(source.Read(t.Context()))
	assert.Contains(t, all, `publisher.published{publisher="1"} 1`)
	assert.Contains(t, all, `publisher.published{publisher="2"} 1`)
	assert.Contains(t, all, `publisher.connected{publisher="1"} 1`)
	assert.Contains(t, all, `publisher.away{publisher="1"} 0`)
	assert.True(t, slices.ContainsFunc(all, func(l string) bool {
		return strings.HasPrefix(l, "listener.delivered{") && strings.Contains(l, "TestListenersAndPublishers") && strings.HasSuffix(l, " 2")
	}), "%q", all)
	assert.False(t, slices.ContainsFunc(all, func(l string) bool { return strings.HasPrefix(l, "journal.") }))
}

// grumbler fails on all that it gets, when its gate opens.
type grumbler struct{ gate <-chan struct{} }

func (g grumbler) HandleBatch(context.Context, []tracbus.Event) error {
	<-g.gate
	return errors.New("no")
}

// What counters say never falls, also when registrations are closed; what waits is gone with them.
func TestCountersNeverFall(t *testing.T) {
	testkit.NoLeaks(t)
	bus := tracbus.BusConfig{Logger: testkit.Quiet, QueueSize: 1}.NewBus("test")
	register := func(gate <-chan struct{}) *tracbus.Registration {
		return bus.All(tracbus.Primary, grumbler{gate})
	}
	open, held := make(chan struct{}), make(chan struct{})
	close(open)
	source := Source{Bus: bus}
	latest := map[string]float64{}
	look := func() map[string]float64 {
		for _, r := range source.Read(t.Context()) {
			if r.Figure.Counter {
				assert.GreaterOrEqual(t, r.Value, latest[r.Figure.Name], r.Figure.Name)
			}
			latest[r.Figure.Name] = r.Value
		}
		return latest
	}
	page := tracbus.WikiPageCreated{Page: tracbus.WikiPage{Name: "A", Version: 1}}
	for i := range 3 {
		first, second := register(open), register(open)
		require.NoError(t, bus.Notify(page))
		require.NoError(t, bus.Wait(testkit.Within(t)))
		assert.Equal(t, float64(2*i+2), look()["listener.failed"])
		require.NoError(t, first.Close(testkit.Within(t)))
		look()
		require.NoError(t, second.Close(testkit.Within(t)))
		assert.Equal(t, float64(2*i+2), look()["listener.delivered"])
	}
	late := register(held)
	require.NoError(t, bus.Notify(page, page, page))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Error(t, late.Close(ended), "it is called, and what waits is not delivered")
	assert.NotZero(t, look()["listener.waiting"]+look()["listener.dropped"])
	close(held)
	require.NoError(t, late.Close(testkit.Within(t)))
	got := look()
	assert.Equal(t, []float64{0, 9}, []float64{got["listener.waiting"], got["listener.delivered"] + got["listener.dropped"]})
	assert.Empty(t, bus.Status())
	require.NoError(t, bus.Close(testkit.Within(t)))
}

// The label journal is the source's name, or the env of its bus; and whatever others called something
// can be shown.
func TestName(t *testing.T) {
	bus := tracbus.NewBus("trac")
	tracbus.On(bus, tracbus.Primary, func(context.Context, tracbus.WikiPageCreated) error { return nil })
	t.Cleanup(func() { assert.NoError(t, bus.Close(context.Background())) })
	for name, source := range map[string]Source{"trac": {Bus: bus}, "wiki": {Bus: bus, Name: "wiki"}, "b\uFFFDd": {Bus: bus, Name: "b\xffd"}} {
		all := source.Read(t.Context())
		require.NotEmpty(t, all, name)
		for _, r := range all {
			assert.Equal(t, "journal", r.Figure.Labels[0])
			assert.Equal(t, name, r.Labels[0])
		}
	}
	hostile := ofJournal(tracbus.JournalStatus{Consumers: []tracbus.ConsumerStatus{{Name: "b\xffd"}}}, nil, time.Now())
	assert.Contains(t, lines(hostile), "consumer.tid{consumer=\"b\uFFFDd\"} 0")
}

// With WriteOnly, what only those tell who follow is missing, so that nobody waits for it.
func TestWriteOnly(t *testing.T) {
	all := strings.Join(lines(ofJournal(tracbus.JournalStatus{WriteOnly: true}, nil, time.Now())), "\n")
	assert.Contains(t, all, "journal.answered{} 1")
	assert.Contains(t, all, "journal.committed_tid")
	for _, name := range []string{"journal.followed", "journal.position_tid", "journal.failing"} {
		assert.NotContains(t, all, name)
	}
}

// What is read was described before, in words that every system of metrics takes.
func TestFigures(t *testing.T) {
	names := map[string]bool{}
	described := (Source{Journal: new(tracbus.Journal), Bus: tracbus.NewBus("test"), Publishers: []*tracbus.Publisher{nil}}).Figures()
	for _, f := range described {
		assert.Regexp(t, regexp.MustCompile(`^[a-z]+\.[a-z_]+$`), f.Name)
		assert.False(t, names[f.Name], f.Name)
		names[f.Name] = true
		assert.True(t, strings.HasSuffix(f.Help, "."), f.Help)
		assert.Contains(t, []string{"", "s"}, f.Unit)
	}
	now := time.Now()
	var read readings
	read.journal(tracbus.JournalStatus{Capture: tracbus.CaptureStatus{Waiting: 1}, Consumers: []tracbus.ConsumerStatus{{}}}, nil, now)
	read.listeners([]tracbus.ListenerStatus{{Scope: tracbus.Primary}})
	read.publishers([]tracbus.PublisherStats{{}}, now)
	assert.Len(t, read.all, len(described))
	for _, r := range read.all {
		assert.Contains(t, described, r.Figure)
		assert.Len(t, r.Labels, len(r.Figure.Labels), r.Figure.Name)
	}
	assert.Empty(t, Source{}.Figures())
	assert.Empty(t, Source{}.Read(t.Context()))
}
