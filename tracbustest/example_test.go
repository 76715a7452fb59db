package tracbustest_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tracbustest"
)

// printer is a T of a program that is no test.
type printer struct{}

func (printer) Helper()                  {}
func (printer) Context() context.Context { return context.Background() }
func (printer) Logf(string, ...any)      {}
func (printer) Errorf(format string, args ...any) {
	fmt.Println(strings.ReplaceAll(fmt.Sprintf(format, args...), "\t", "  "))
}

// A check of a realm whose Event forgets what a ticket was before.
func ExampleRealm() {
	tracbustest.Realm(printer{}, forgetful{},
		tracbus.TicketChanged{ID: 17, Values: tracbus.Fields{"status": "open"}, Old: tracbus.Fields{"status": "new"}})
	// Output:
	// realm tracbustest_test.forgetful: an event comes back
	//   contract: JournalRealm.Event returns an event equal to the one whose Entry was stored.
	//   why: Listeners in all processes, History and Since get what comes back, never the event that was recorded.
	//   seen: tracbus.TicketChanged of ticket 17: .Old was "map[status:new]", and came back as nil
}

// forgetful is a realm that is not as it should be.
type forgetful struct{ tracbus.Tickets }

func (f forgetful) Event(e tracbus.Entry) (tracbus.Event, error) {
	e.Old = nil
	return f.Tickets.Event(e)
}

// A listener of a durable consumer that does not compare fencing tokens.
func ExampleDurable() {
	status := map[int64]string{}
	put := func(_ context.Context, e tracbus.TicketChanged) error {
		status[e.ID] = e.New.Text("status")
		return nil
	}
	change := func(old, now string) tracbus.Event {
		return tracbus.TicketChanged{ID: 17, Values: tracbus.Fields{"status": now}, Old: tracbus.Fields{"status": old}}
	}
	tracbustest.DurableConfig{
		State: func(context.Context) (any, error) { return fmt.Sprint(status), nil },
	}.Durable(printer{}, put, change("new", "open"), change("open", "fixed"), change("fixed", "closed"))
	// Output:
	// durable listener func(context.Context, tracbus.TicketChanged) error: a late call with an old token
	//   contract: A call under an older fencing token than the receiver has seen changes nothing: LeaseFrom has the token.
	//   why: A process that was suspended in a call finishes it after another has taken over, and overwrites what is newer.
	//   seen: tracbus.TicketChanged of ticket 17, called late under the token 5, after 6: in the receiver's state, the value was "map[17:closed]", and came back as "map[17:open]"
}
