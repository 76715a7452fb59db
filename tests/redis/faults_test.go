package redis_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus/internal/testkit"
)

var faults = []fault{
	{name: "WRONGPASS", begin: func(t *testing.T, s *scene) func() {
		for _, role := range roles {
			s.admin(t, "acl", "setuser", role, "resetpass", ">tell-nobody-new")
		}
		s.hangUp(t)
		return func() {
			for _, role := range roles {
				s.admin(t, "acl", "setuser", role, "resetpass", ">"+passwordOf(role))
			}
		}
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {hears, "WRONGPASS"}, {reads, "not connected to Redis"}, {reads, "WRONGPASS"}}},
	{name: "WRONGTYPE", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "rename", stream, "elsewhere")
		s.admin(t, "set", stream, "no stream")
		return func() { s.admin(t, "rename", "elsewhere", stream) }
	}, says: []saying{{journal, "failed … WRONGTYPE"}, {reads, "WRONGTYPE"}}},
	{name: "LOADING", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "debug", "populate", "40", "key", "5000")
		s.admin(t, "config", "set", "rdbcompression", "no", "key-load-delay", "100000", "loading-process-events-interval-bytes", "1024")
		loaded := s.meanwhile("debug", "reload")
		return func() {
			require.NoError(t, loaded())
			s.admin(t, "config", "set", "key-load-delay", "0")
		}
	}, says: []saying{{appends, "LOADING"}, {reads, "no answer OR LOADING"}}, may: roles},
	{name: "READONLY", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "replicaof", "127.0.0.1", "1")
		return func() { s.admin(t, "replicaof", "no", "one") }
	}, says: []saying{{appends, "READONLY"}}, may: roles},
	{name: "MASTERDOWN", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "config", "set", "replica-serve-stale-data", "no")
		s.admin(t, "replicaof", "127.0.0.1", "1")
		return func() { s.admin(t, "replicaof", "no", "one") }
	}, says: []saying{{appends, "MASTERDOWN"}}, may: roles},
	{name: "OOM", begin: func(t *testing.T, s *scene) func() { return s.set(t, "maxmemory", 1, 0) }, says: []saying{{appends, "OOM"}}},
	{name: "MISCONF", begin: func(t *testing.T, s *scene) func() {
		gone, err := os.MkdirTemp("", "tb")
		require.NoError(t, err)
		s.admin(t, "config", "set", "dir", gone)
		require.NoError(t, os.Remove(gone))
		s.admin(t, "config", "set", "save", "3600 1000000")
		s.admin(t, "bgsave")
		testkit.Until(t, "Redis cannot save", func() bool {
			return strings.Contains(s.server.Admin().Info(context.Background(), "persistence").Val(), "rdb_last_bgsave_status:err")
		})
		return func() { s.admin(t, "config", "set", "stop-writes-on-bgsave-error", "no") }
	}, says: []saying{{appends, "MISCONF"}}},
	{name: "BUSY", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "config", "set", "busy-reply-threshold", "1")
		killed := s.meanwhile("eval", "while true do end", "0")
		return func() {
			testkit.Until(t, "the script is killed", func() bool { return s.server.Admin().ScriptKill(context.Background()).Err() == nil })
			_ = killed()
		}
	}, says: []saying{{publishes, "BUSY"}, {appends, "BUSY"}, {reads, "no answer OR BUSY"}}, may: roles},
	{name: "NOREPLICAS", begin: func(t *testing.T, s *scene) func() { return s.set(t, "min-replicas-to-write", 1, 0) }, says: []saying{{appends, "NOREPLICAS"}}},
	{name: "CROSSSLOT", before: func(t *testing.T, s *scene) {
		s.refusing = &refusing{command: "evalsha", answer: "-CROSSSLOT Keys in request don't hash to the same slot\r\n"}
		s.config.Addr = s.refusing.before(t, s.front.Addr())
	}, begin: func(t *testing.T, s *scene) func() {
		s.refusing.on.Store(true)
		return func() { s.refusing.on.Store(false) }
	}, says: []saying{{journal, "failed … CROSSSLOT … expected cluster_addrs"}}},
	{name: "maxclients", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "config", "set", "maxclients", "1")
		s.hangUp(t)
		return func() { s.admin(t, "config", "set", "maxclients", "1000") }
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}, may: []string{hears, reads}},
	{name: "CLIENT KILL", begin: func(t *testing.T, s *scene) func() {
		s.hangUp(t)
		return func() {}
	}, says: []saying{{hears, "not connected to Redis"}, {reads, "not connected to Redis"}}, may: roles},
	{name: "SCRIPT FLUSH", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "script", "flush")
		return func() {}
	}},
	{name: "FLUSHALL", begin: func(t *testing.T, s *scene) func() {
		s.admin(t, "flushall")
		return func() {}
	}, says: []saying{{journal, "was emptied"}}, forgets: true},
	{name: "killed", begin: func(t *testing.T, s *scene) func() {
		s.server.Kill()
		return s.server.Restart
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}, may: []string{hears, reads}},
	{name: "refused", begin: func(t *testing.T, s *scene) func() {
		s.front.Refuse()
		s.front.Cut()
		return s.front.Accept
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}},
	{name: "black hole", begin: func(t *testing.T, s *scene) func() {
		s.front.Swallow()
		return s.front.Resume
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}},
	{name: "half-open", begin: func(t *testing.T, s *scene) func() {
		s.front.Swallow()
		s.front.Resume()
		return func() {}
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}, may: []string{journal}},
	{name: "stopped", begin: func(t *testing.T, s *scene) func() {
		s.server.Stop()
		return s.server.Continue
	}, says: []saying{{publishes, "Redis is away"}, {appends, "Redis is away"}, {journal, "do not wake each other"}, {hears, "not connected to Redis"}, {reads, "not connected to Redis"}}},
}
