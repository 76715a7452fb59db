package realms_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/trac/realms"
)

// log is a listener of all four realms, which notes what it is called with.
type log struct {
	events []tracbus.Event
	resync int
}

func (l *log) note(e tracbus.Event) error {
	l.events = append(l.events, e.WithChange(tracbus.Change{}))
	return nil
}

func (l *log) MilestoneCreated(_ context.Context, e realms.MilestoneCreated) error { return l.note(e) }
func (l *log) MilestoneChanged(_ context.Context, e realms.MilestoneChanged) error { return l.note(e) }
func (l *log) MilestoneDeleted(_ context.Context, e realms.MilestoneDeleted) error { return l.note(e) }
func (l *log) ComponentCreated(_ context.Context, e realms.ComponentCreated) error { return l.note(e) }
func (l *log) ComponentChanged(_ context.Context, e realms.ComponentChanged) error { return l.note(e) }
func (l *log) ComponentDeleted(_ context.Context, e realms.ComponentDeleted) error { return l.note(e) }
func (l *log) VersionCreated(_ context.Context, e realms.VersionCreated) error     { return l.note(e) }
func (l *log) VersionChanged(_ context.Context, e realms.VersionChanged) error     { return l.note(e) }
func (l *log) VersionDeleted(_ context.Context, e realms.VersionDeleted) error     { return l.note(e) }
func (l *log) AttachmentAdded(_ context.Context, e realms.AttachmentAdded) error   { return l.note(e) }
func (l *log) AttachmentChanged(_ context.Context, e realms.AttachmentChanged) error {
	return l.note(e)
}
func (l *log) AttachmentDeleted(_ context.Context, e realms.AttachmentDeleted) error {
	return l.note(e)
}

func (l *log) Resync(context.Context, tracbus.Resync) error { l.resync++; return nil }

// TestListeners: a listener of a realm gets the events of that realm, of each type
// by its own method.
func TestListeners(t *testing.T) {
	register := map[tracbus.Realm]func(*tracbus.Bus, *log) *tracbus.Registration{
		realms.RealmMilestone: func(b *tracbus.Bus, l *log) *tracbus.Registration {
			return realms.ListenToMilestones(b, tracbus.Everywhere, l)
		},
		realms.RealmComponent: func(b *tracbus.Bus, l *log) *tracbus.Registration {
			return realms.ListenToComponents(b, tracbus.Everywhere, l)
		},
		realms.RealmVersion: func(b *tracbus.Bus, l *log) *tracbus.Registration {
			return realms.ListenToVersions(b, tracbus.Everywhere, l)
		},
		realms.RealmAttachment: func(b *tracbus.Bus, l *log) *tracbus.Registration {
			return realms.ListenToAttachments(b, tracbus.Everywhere, l)
		},
	}
	for realm, listen := range register {
		bus := tracbus.NewBus("myenv")
		l := new(log)
		r := listen(bus, l)
		assert.Equal(t, "*realms_test.log", r.Status().Listener)
		var want []tracbus.Event
		require.NoError(t, bus.Notify(tracbus.TicketDeleted{ID: 1}))
		for _, e := range oneOfEach() {
			require.NoError(t, bus.Notify(e))
			if e.Resource().Realm == realm {
				want = append(want, e.WithChange(tracbus.Change{}))
			}
		}
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, want, l.events)
		assert.GreaterOrEqual(t, len(want), 4)
	}
}

// failing is a listener that fails on what is deleted, as often as it is told to.
type failing struct {
	log
	fails int
}

func (f *failing) MilestoneDeleted(ctx context.Context, e realms.MilestoneDeleted) error {
	if f.fails--; f.fails >= 0 {
		return errors.New("not now")
	}
	return f.log.MilestoneDeleted(ctx, e)
}

// TestAListenerThatFails is called again, and hears at last that it has missed
// something.
func TestAListenerThatFails(t *testing.T) {
	for fails, want := range map[int]failing{
		1: {log: log{events: []tracbus.Event{realms.MilestoneDeleted{}}}, fails: -1},
		2: {log: log{resync: 1}},
	} {
		bus := tracbus.BusConfig{Backoff: 1, MaxRetries: 1}.NewBus("myenv")
		f := &failing{fails: fails}
		realms.ListenToMilestones(bus, tracbus.Everywhere, f)
		require.NoError(t, bus.Notify(realms.MilestoneDeleted{}))
		require.NoError(t, bus.Close(t.Context()))
		assert.Equal(t, want, *f)
	}
}
