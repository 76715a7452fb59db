// Package tracbus delivers the changes of a tracker: to listeners in all processes of
// the tracker, and through Redis to other programs. Channels and payloads are those of
// the Trac plugin tracext-redispub. Changes are kept in a journal, in tables of the
// tracker's own database, and are delivered after their commit.
//
//	bus := tracbus.NewBus("myenv")
//	bus.Wiki(tracbus.Everywhere, pageCache) // a WikiListener
//	tracbus.On(bus, tracbus.Primary, func(ctx context.Context, e tracbus.TicketChanged) error {
//		return mail(ctx, e.Author, e.Comment)
//	})
//	bus.All(tracbus.Durable("redis"), tracbus.NewPublisher(rdb, tracbus.PublisherConfig{}))
//
//	j, err := tracbus.OpenJournal(ctx, db, bus, tracbus.JournalConfig{Dialect: tracbus.PostgreSQL})
//	go j.Run(context.Background()) // delivers to the bus, until j.Close
//
//	tid, err := j.Update(ctx, tracbus.Actor{Author: "joe"}, func(tx *tracbus.ModelTransaction) error {
//		return setStatus(ctx, tx, 17, "closed") // your SQL on tx.SQL(), then tx.Record
//	})
//	err = errors.Join(j.Close(ctx), bus.Close(ctx))
//
// A program without a database calls [Bus.Notify] instead. Package trac writes the
// tables of Trac itself; package pages keeps values that are derived from wiki pages.
// Package tracbustest checks what you write for this one, and your database and Redis.
//
// # Words
//
// An [Event] describes one [Change] of one [Resource]. A resource belongs to a [Realm],
// such as ticket or wiki. A [Bus] delivers events to listeners. Each listener is
// registered with a [Scope], which says which changes it receives and what happens when
// it fails.
//
// A [Journal] keeps changes in a database and delivers them to the bus of each process.
// A [ModelTransaction] is a unit of work: it writes resources, each through a [Model],
// and the journal's rows about them, in one SQL transaction. Its tid is its place in
// the order of all transactions. A change is primary in the process that committed it,
// and secondary in the others.
//
// A listener with the scope [Durable] is a consumer, with a name. The journal keeps the
// consumer's cursor: how far it has come. One process at a time holds the consumer's
// [Lease] and calls the listener. A [Publisher] is a listener that publishes events on
// Redis; a [Subscriber] receives them there.
//
// # Guarantees
//
// Of the journal:
//
//   - Each process delivers to its bus every change of its realms that is committed
//     after its OpenJournal, exactly once. All processes use the same order, that of
//     the tids. Changes of one resource come in the order of their commits. Slow,
//     rolled-back and killed transactions do not change this.
//   - A change is primary in one process, the one that committed it, and secondary in
//     all others. A restarted process counts as another one.
//   - Nothing of an uncommitted transaction is delivered. What is delivered is
//     committed: a listener can read it.
//   - Update runs its function at most once. If Update returns nil, the commit holds,
//     whatever happens to delivery. An error that wraps [ErrNotCommitted] means that the
//     commit does not hold and never will. An error that wraps [ErrCommitUnknown] means
//     that the database's answer was lost and could not be asked for again, or not before
//     the transaction may have been pruned: if it was committed, its changes are
//     delivered like any other.
//   - [Journal.CommitWith] says in the same way whether the commit of an application's own
//     transaction holds. In a transaction with savepoints, what was recorded after one is
//     not delivered if the application rolls back to it, and is if it releases it. If a
//     transaction was joined, changes were recorded, and neither Flush nor Rollback was called,
//     the log says so.
//   - No change gets a tid that the journal has had, even if a restore of a part of the
//     database has put back what counts them: the change is refused, with
//     [ErrNotCommitted], and the counter set right.
//   - A transaction that has taken its tid and has not ended holds back the changes
//     after it until it ends. They are never skipped. [Journal.Status] shows which
//     transaction it is, as far as the database knows; the log does after some seconds.
//   - A slow listener loses nothing: what its queue has no room for is read again from
//     the journal, unless it was pruned by then.
//   - A [LoadListener] receives exactly the changes that were not in the snapshot it was
//     loaded from. If the database's history went back to before what the snapshot
//     showed, it is loaded again.
//   - Since, Resume, Before and History yield events equal to those that were delivered,
//     except for Primary, even if the resource has changed since or is gone. What this
//     process has delivered is among them; what only another one has delivered may be
//     missing on PostgreSQL as long as a writer stands still while it takes its tid.
//   - While the database is unavailable, Run retries. Then it continues where it
//     stopped. If the database's history went back, or if changes were pruned before
//     they were read or are damaged, Run says so in the log and by a [Resync] to every
//     listener that accepts one. The changes after the place where it continues are
//     delivered; some of them again, if the history went back.
//   - Close ends Run, and delivers to the bus what this process committed and Run has
//     not delivered, even if Run had ended before.
//
// Of a listener with the scope [Durable], while its database keeps its history:
//
//   - It receives every change of the realms of its holder's journal that is committed
//     after the place where the consumer began: at least once, in the order of the
//     tids, whichever processes die, freeze or lose their connections, and whenever.
//   - One process at a time holds the lease and calls the listener. If a call returns
//     nil, the cursor moves past it. It never moves back, and a process that has lost
//     the lease never moves it. A failed call is repeated, unless
//     [DurableConfig.MaxAttempts] says otherwise. Consumers do not wait for each other.
//   - A crash repeats the last call: one change, or one batch of a [BatchListener]. On
//     SQLite, a power failure within a transaction also repeats the calls that ended since
//     the cursor last reached the disk: those of 20 ms.
//   - A holder that shuts down cleanly gives up its lease at once. Another process then
//     takes over immediately if the processes wake each other, otherwise within a third
//     of the lease. If the holder dies, freezes or cannot reach the database, another
//     takes over when the lease expires. If a call hangs, when its timeout expires.
//   - Prune keeps what a consumer has not received, unless
//     [Retention.DropUnconsumedAfter] says otherwise. If the database's history went
//     back, the listener continues at the cursor that the database has then: no new
//     change is left out, some are delivered again. A process that has seen what is gone
//     gives the listener a [Resync] first, if it accepts one; if all of those processes
//     have died, nobody does.
//
// Of a publisher under [Durable]:
//
//   - Every change is published once, in the order of the tids, as long as Redis keeps
//     what it acknowledged. A Redis that lost its latest writes gets them again. A Redis
//     that was emptied, or that is ahead of a journal whose history went back, continues
//     at the consumer's cursor, and the log says so.
//   - What Redis refuses and what cannot be encoded is retried until it can be
//     published, and the changes after it wait: [Journal.Status] shows it.
//   - With a stream, each change is appended to it once, before it is published, in the
//     same step.
//
// Of the bus:
//
//   - Notify does not wait for listeners or Redis. If one of its events is malformed, it
//     returns an error and delivers nothing.
//   - Every listener receives every event of its kinds and its scope, one call at a
//     time: in the order of the tids, or without a journal in the order in which Notify
//     took them. Events of one transaction, or of one Notify, stay together.
//   - Listeners are isolated. An error, a panic or a runtime.Goexit is reported to the
//     log once, with listener, tid and channel, and ends nothing. A listener that is
//     slow, or blocks for ever, delays only itself.
//   - The queue of a listener is bounded. Without a journal, the oldest events beyond the
//     bound are dropped and counted, and the listener receives a [Resync] before the
//     first event after the gap.
//   - A listener may call Notify, or Update if there is a journal. It cannot deadlock,
//     because nothing waits for it.
//   - Close delivers what is queued. It returns by the deadline of its context, and says
//     what was not delivered. Calls that have not returned by then have an ended context;
//     call Close again to wait for them. When Close has returned nil, no goroutine is
//     left.
//
// Of the publisher under another scope, while its process lives:
//
//   - Messages of one bus are published in the order of its events.
//   - While Redis is unavailable, messages are queued, and published when it is back.
//     Without a journal, what the bound does not hold is lost and counted, the oldest
//     queued first.
//   - A message that is too long for Redis, which closes the connection on it, is
//     rejected and counted after some attempts; the messages after it are published.
//   - A message whose answer was lost is sent again, so it may arrive twice, with those
//     of the same round trip. It never arrives after a message of a later round trip:
//     the connection that carried it is killed first, if the Redis user may do that.
//
// Of the subscriber:
//
//   - It yields what Redis delivered, in order, each message as one event or as one
//     error that carries it.
//   - Whenever a message may have been missed, it yields a [Resync].
//   - A loop over [Subscriber.Stream] that continues after the last entry it handled
//     yields each change that the stream keeps once, in the order of the journal,
//     whatever was restarted meanwhile. If the stream did not keep some changes, or was
//     reset, a [Resync] comes first and says after which tid and up to which.
//
// # Not promised
//
//   - A change that is written without the journal, by Trac itself for example, is not
//     in it, and nobody receives it.
//   - A process need not receive what was committed before its OpenJournal. It begins at
//     the end of the journal, and loads its state from tables.
//   - When a process dies, what it had taken for a Primary listener, or from Notify, and
//     not delivered is lost. With a journal, the other processes receive the change as
//     secondary, and Since and History have it.
//   - A transaction that hangs between its tid and its commit holds back what the others
//     receive, and those who change the same resource. On SQLite any open transaction
//     blocks the other writers.
//   - The journal needs the primary server. A PostgreSQL standby is refused; a replica of
//     MySQL is not recognised.
//   - MySQL and MariaDB show a commit before it is safe on disk. So do PostgreSQL without
//     synchronous_commit and SQLite without synchronous=FULL. What a power failure then
//     takes back has already been delivered: it is a history that went back.
//   - Redis pub/sub keeps nothing: a message reaches those who are subscribed when it is
//     published. A Redis that is killed may have acknowledged a message without
//     delivering it.
//   - Two processes that each publish what they committed do so in no common order.
//   - Listeners run concurrently with each other and with those who make changes. That
//     one listener has received a change says nothing about the others; use
//     [Journal.Wait] and [Bus.Wait].
//   - Events are shared: changing the [Fields] of one, also after [Bus.Notify], changes
//     them for every listener, while it may be reading them.
//   - Under [Durable], a process that was held up in a call can finish the call after
//     another has taken over. [LeaseFrom] has what a receiver needs to refuse it. By
//     itself, this does no side effect exactly once.
//   - If the database and Redis go back at the same time, a subscriber can lose what both
//     forgot.
//
// # Asked of listeners
//
// Return an error if you did not handle the event. Return soon after the context has
// ended. Do not call Close or Wait within a call.
package tracbus
