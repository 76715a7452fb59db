// Package tracbustest checks what others write for package tracbus, and the servers that
// it is going to run on.
//
// For authors, in a test of theirs:
//
//   - [Realm] checks a [tracbus.JournalRealm] and its events;
//   - [Model] checks a [tracbus.Model] on a database;
//   - [Listener] checks a listener, and [Durable] one of a durable consumer.
//
// For operators, in a test or in a program:
//
//   - [Database] checks the guarantees of a journal on a database, with several writers,
//     transactions that are held open or rolled back, and connections that are killed;
//   - [Redis] checks that a client reaches a Redis that does all that is asked of it.
//
// A check that fails explains itself: what the contract is, why it matters, and what was
// seen. Each looks for as much as it can, so that one run shows all that is wrong.
//
//	func TestMilestones(t *testing.T) {
//		tracbustest.Realm(t, Milestones{}, MilestoneCreated{…}, MilestoneChanged{…}, MilestoneDeleted{…})
//	}
package tracbustest
