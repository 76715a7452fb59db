// Package tracbus tells others what changed in a tracker: listeners in the same
// process, and programs that subscribe to Redis, as the Trac plugin
// tracext-redispub does, whose channels and payloads it keeps.
//
//	bus := tracbus.NewBus("myenv")
//	bus.Wiki(tracbus.Everywhere, pageCache) // a WikiListener
//	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
//		return mail(ctx, e.Author, e.Comment)
//	})
//	bus.All(tracbus.Primary, tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
//
//	err := bus.Notify(tracbus.TicketChanged{ // after your commit
//		Change: tracbus.Change{Author: "joe", Comment: "Updated milestone."},
//		ID:     17,
//		Values: tracbus.Fields{"summary": "Test ticket", "milestone": "milestone1"},
//		Old:    tracbus.Fields{"milestone": ""},
//	})
//	err = bus.Close(ctx)
//
// The words: an [Event] tells of one [Change] of one [Resource]. A [Bus] tells
// events to listeners, each registered with a [Scope]. A [Publisher] is a
// listener that sends them to Redis; a [Subscriber] receives them there. A
// change goes Bus.Notify, Registration.put, Registration.run,
// Publisher.HandleBatch, Sender.Send, PUBLISH: read bus.go, registration.go,
// delivery.go, publisher.go and internal/ordered.
//
// # Guarantees
//
// Of the bus:
//
//   - Notify does not wait for listeners or Redis. It returns an error, and
//     tells nothing, if one of its events is malformed.
//   - Every listener is told of every event of its kinds, in the order in which
//     Notify took them, one call at a time. Events of one Notify stand together.
//   - Listeners are isolated. An error, a panic or a runtime.Goexit is reported
//     to the log once, with listener, tid and channel, and ends nothing; a
//     listener that is slow, or blocks for ever, delays only itself.
//   - What waits for a listener is bounded. Beyond the bound its oldest events
//     are dropped and counted, and it is told [Resync] before the first event
//     behind the gap.
//   - A listener may call Notify. It cannot deadlock, for nothing waits.
//   - Close delivers what waits. It returns by the deadline of its context, and
//     says what was not delivered. Calls that have not returned by then have an
//     ended context; call Close again to wait for them. When it has returned
//     nil, no goroutine is left.
//
// Of the publisher, while its process lives:
//
//   - Messages of one bus are published in the order of its events.
//   - While Redis is away, they wait and are published when it is back; what the
//     bound does not hold is lost, the oldest that wait first, and counted.
//   - A message that is too long for Redis, which closes the connection on it, is
//     refused and counted after some tries; those behind it are published.
//   - A message whose answer was lost is sent again, so it may arrive twice, with
//     those that were sent in the same round trip. It never arrives after one of
//     a later round trip, for the connection that carried it is killed first, if
//     the Redis user may do that.
//
// Of the subscriber:
//
//   - It yields what Redis delivered, in order, each message as one event or as
//     one error that carries it.
//   - Whenever a message may have been missed, it yields a [Resync].
//
// # Not promised
//
//   - Without a journal, an event that a process had taken and not yet delivered
//     is lost when the process dies.
//   - Redis pub/sub keeps nothing: a message reaches those who are subscribed when
//     it is published. A Redis that is killed may have acknowledged a message
//     without delivering it.
//   - Two processes that each have a bus publish in no common order.
//   - Listeners run concurrently with each other and with the caller of Notify;
//     that one listener was told says nothing of the others. [Bus.Wait] does.
//   - Events are shared: who changes the [Fields] of one changes them for all.
//
// # Asked of listeners
//
// Return an error if you did not handle the event; return soon after the context
// has ended; do not call Close or Wait from within a call.
package tracbus
