// Package testserver gives a test real servers of its own, and real faults.
//
// Every server belongs to one test: it runs on a free port of 127.0.0.1 with a
// folder of its own, and when the test is over, neither the process nor the
// folder is left.
//
//	server := testserver.Redis(t, testserver.RedisOptions{})
//	proxy := testserver.Proxy(t, server.Addr())
//	client := redis.NewClient(&redis.Options{Addr: proxy.Addr()})
//
// There are [Redis], [Sentinel], [Cluster], [HAProxy], [Postgres] and [MariaDB].
// [Python] and [Chromium] find programs that tests run themselves.
//
// Faults come in two kinds. A server can be killed, restarted, stopped and
// continued, and a database be put back to a backup; a [TCPProxy] in front of it
// can cut, refuse, swallow and hold back. With proxies, a node of a cluster or a
// server with Sentinels can be isolated.
//
// Where a server is not installed, the test is skipped in one line. With
// TRACBUS_REQUIRE_SERVERS set to anything, it fails instead, so that a machine
// that is meant to test everything cannot skip in silence.
//
// Only tests import this package. Its functions and methods end the test when
// they fail, so the test's own goroutine calls them.
package testserver
