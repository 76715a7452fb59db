// Package pgxbus is for applications on PostgreSQL with pgx. It is a module of its own, so that
// an application with another driver does not get pgx.
//
// [Open] opens a journal over a pool of pgx, and [CommitWith] commits a transaction of pgx with the
// journal's rows about it, in one round trip. A [Waker] has the processes of a journal wake each other by
// LISTEN and NOTIFY, without a Redis.
package pgxbus
