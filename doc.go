// Package tracbus tells others what changed in a tracker: listeners in all of its
// processes, and programs that subscribe to Redis, as the Trac plugin
// tracext-redispub does, whose channels and payloads it keeps. It keeps the
// changes themselves in a journal, in tables beside the tracker's own.
//
//	bus := tracbus.NewBus("myenv")
//	bus.Wiki(tracbus.Everywhere, pageCache) // a WikiListener
//	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
//		return mail(ctx, e.Author, e.Comment)
//	})
//	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
//
//	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL})
//	go j.Run(context.Background()) // tells the bus, until j.Close
//
//	tid, err := j.Update(ctx, tracbus.Actor{Author: "joe", IPNR: ip, Authenticated: true},
//		func(tx *tracbus.ModelTransaction) error {
//			return tx.Save(ctx, trac.TicketEdit{ID: 17, Set: tracbus.Fields{"milestone": "m1"}})
//		})
//	err = errors.Join(j.Close(ctx), bus.Close(ctx))
//
// A program without a database tells the bus itself, with [Bus.Notify].
//
// The words: an [Event] tells of one [Change] of one [Resource]. A [Bus] tells
// events to listeners, each registered with a [Scope]. A [Journal] keeps changes
// in a database and tells its bus of them. A listener with the scope [Durable] has
// a name, for which one process at a time is told, the holder of its lease. A [ModelTransaction] is a unit of
// work: it writes resources, each through a [Model], and what the journal says
// of them, in one SQL transaction. Its tid is its place in the order of all. A
// change is primary in the process that committed it, and secondary in the
// others. A [Publisher] is a listener that sends events to Redis; a [Subscriber]
// receives them there.
//
// A change goes Journal.Update, ModelTransaction.Save, ModelTransaction.Commit,
// Store.Append; the follower of every process reads it: follower.follow,
// Bus.feed, Registration.run, Publisher.HandleBatch, Sender.Send, PUBLISH. Read
// commit.go, transaction.go, follower.go, feed.go, registration.go, delivery.go,
// publisher.go, and below them internal/store and internal/publish/pipeline. Under Durable it
// goes relay.hold, holder.step, Publisher.handleChained: once.go, relay.go,
// lease.go, holder.go, telling.go, rejoin.go, publishchained.go, internal/publish/script.
//
// # Guarantees
//
// Of the journal:
//
//   - Every process tells its bus of every change of its realms that is committed
//     after its OpenJournal, exactly once, all processes in the same order, that
//     of the tids. Changes of one resource come in the order of their commits.
//     Slow, rolled back and killed transactions do not change that.
//   - A change is primary in one process, which committed it, and secondary in
//     all others. A process that is started anew is another one.
//   - Nothing is told of a transaction that is not committed. What is told is
//     committed: a listener can read it.
//   - The function of Update runs once at most. When Update returns nil, the
//     commit holds, whatever becomes of telling it. An error that wraps
//     [ErrNotCommitted] says that it does not, and never will. One that wraps
//     [ErrCommitUnknown] says that the database's answer was lost, and could not
//     be asked for again: if the transaction landed, it is told like any other.
//   - What comes after a transaction that has taken its tid and not ended is held
//     back until it ends, never skipped. [Journal.Status] shows who holds it back,
//     as far as the database tells, and the log does after some seconds.
//   - A slow listener loses nothing: what its queue has no room for is read again
//     from the journal. What was pruned by then is not there.
//   - A [LoadListener] is told of exactly the changes that the snapshot it was
//     loaded from did not show.
//   - Since, Resume, Before and History yield events that are equal to those that
//     were told, but for Primary, also when the resource has moved on, or is gone.
//   - While the database is away, Run tries again, and goes on where it stopped.
//     If the database's history went back, or changes were pruned before they
//     were read, or are damaged, it says so: in the log, and by a [Resync] to
//     every listener that takes one. What stands behind the place from which it
//     goes on is told, some of it again where the history went back.
//   - Close ends Run, and tells the bus of what this process committed and Run has
//     not told, also where it had ended before.
//
// Of a listener with the scope [Durable], while its database keeps its history:
//
//   - It is told of every change of the realms of its holder's journal that is
//     committed behind the place where its name began, at least once, in the
//     order of the tids, whichever processes die, stand still or lose their
//     connections, and whenever.
//   - One process at a time holds a name, and calls the listener. Where a call
//     returns nil, the name's place moves behind it, never back, and never by a
//     process that has lost the name. A call that fails is repeated, unless
//     [DurableConfig.MaxAttempts] says otherwise; names do not wait for each other.
//   - A crash repeats what was called last: one change, or one batch of a
//     [BatchListener].
//   - When the holder ends in order, another takes the name at once where the
//     processes wake each other, else within a third of a Lease; when it dies,
//     stands still or cannot reach the database, when the Lease is over; when a
//     call hangs, when its Deadline is over.
//   - Prune keeps what a name was not told, unless [Retention.DropUnconsumedAfter] says
//     otherwise. If the database's history went back, the listener goes on where
//     its name stands then: no new change is left out, some are told again. A
//     process that has seen what is gone tells it a [Resync] first, if it takes
//     one; where all of those have died, nobody does.
//
// Of a publisher under [Durable]:
//
//   - Every change is published once, in the order of the tids, as long as Redis
//     keeps what it acknowledged. A Redis that lost the last of it gets that
//     again; one that was emptied, or is ahead of a journal whose history went
//     back, goes on where the name stands, and the log says so.
//   - What Redis refuses, or what cannot be encoded, is repeated until it can be
//     published, and what is behind it waits: [Journal.Status] shows it.
//   - With a stream, each change is appended to it once, before it is published,
//     in the same step.
//
// Of the bus:
//
//   - Notify does not wait for listeners or Redis. It returns an error, and
//     tells nothing, if one of its events is malformed.
//   - Every listener is told of every event of its kinds and its scope, in the
//     order of the tids, or without a journal in that in which Notify took them,
//     one call at a time. Events of one transaction, or one Notify, stand
//     together.
//   - Listeners are isolated. An error, a panic or a runtime.Goexit is reported
//     to the log once, with listener, tid and channel, and ends nothing; a
//     listener that is slow, or blocks for ever, delays only itself.
//   - What waits for a listener is bounded. Without a journal, its oldest events
//     are dropped and counted beyond the bound, and it is told [Resync] before
//     the first event behind the gap.
//   - A listener may call Notify, or Update where there is a journal. It cannot
//     deadlock, for nothing waits for it.
//   - Close delivers what waits. It returns by the deadline of its context, and
//     says what was not delivered. Calls that have not returned by then have an
//     ended context; call Close again to wait for them. When it has returned
//     nil, no goroutine is left.
//
// Of the publisher under another scope, while its process lives:
//
//   - Messages of one bus are published in the order of its events.
//   - While Redis is away, they wait and are published when it is back. Without a
//     journal, what the bound does not hold is lost, the oldest that wait first,
//     and counted.
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
//   - A loop over [Subscriber.Stream] that goes on behind the last entry it
//     handled yields each change that the stream keeps once, in the order of the
//     journal, whatever was restarted meanwhile. Where the stream did not keep
//     some, or was begun anew, a [Resync] comes first and says behind which tid
//     and up to which.
//
// # Not promised
//
//   - What is written without the journal, such as by Trac itself, is not in it:
//     nobody is told.
//
//   - A process need not be told of what was committed before its OpenJournal. It
//     begins at the end of the journal, and loads its state from tables.
//
//   - What a process had taken for a Primary listener, or from Notify, and not
//     delivered, is lost when it dies. With a journal, other processes are told
//     of the change as secondary, and Since and History have it.
//
//   - A transaction that hangs between its tid and its commit holds back what the
//     others are told. On MySQL and MariaDB it holds up the other writers too; on
//     SQLite any open transaction does.
//
//   - The journal needs the primary server: a PostgreSQL standby is refused, a
//     replica of MySQL is not recognised.
//
//   - MySQL and MariaDB show a commit before it is safe on disk, and so do
//     PostgreSQL without synchronous_commit and SQLite without synchronous=FULL.
//     What a loss of power then takes back has been told already, and is a
//     history that went back.
//
//   - Redis pub/sub keeps nothing: a message reaches those who are subscribed when
//     it is published. A Redis that is killed may have acknowledged a message
//     without delivering it.
//
//   - Two processes that publish, each what it committed, do so in no common
//     order.
//
//   - Listeners run concurrently with each other and with those who make changes;
//     that one listener was told says nothing of the others. [Journal.Wait] and
//     [Bus.Wait] do.
//
//   - Events are shared: who changes the [Fields] of one changes them for all.
//
//   - Under [Durable] a process that was held up in a call can finish it after
//     another has gone on: [LeaseFrom] has what a receiver needs to refuse that. No
//     side effect is done exactly once by that alone.
//
//   - A database that goes back and a Redis that goes back at the same time can
//     lose to a subscriber what both forgot.
//
// # Asked of listeners
//
// Return an error if you did not handle the event; return soon after the context
// has ended; do not call Close or Wait from within a call.
package tracbus
