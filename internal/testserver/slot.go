package testserver

import (
	"context"
	"fmt"
	"strings"
)

// Slot returns the slot of a key in a Redis Cluster.
func Slot(key string) int {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	var crc uint16 // CRC-16/XMODEM
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}

// Migration is a slot on its way from one primary to another. Until it ends, the old
// one answers ASK for keys that have moved already, and the new one MOVED to whoever
// does not say ASKING.
type Migration struct {
	c        *RedisCluster
	slot     int
	from, to *RedisServer
}

// Migrate begins to move the slot of a key.
func (c *RedisCluster) Migrate(key string, to *RedisServer) *Migration {
	c.t.Helper()
	m := &Migration{c: c, slot: Slot(key), from: c.Owner(key), to: to}
	if m.from == nil || m.from == to {
		c.t.Fatalf("redis: slot of %s cannot move", key)
	}
	m.do(to, "cluster", "setslot", m.slot, "importing", c.ids[m.from])
	m.do(m.from, "cluster", "setslot", m.slot, "migrating", c.ids[to])
	return m
}

// Keys moves all keys of the slot that exist now.
func (m *Migration) Keys() {
	m.c.t.Helper()
	for {
		keys, err := m.from.Admin().ClusterGetKeysInSlot(context.Background(), m.slot, 100).Result()
		if err != nil {
			m.c.t.Fatalf("redis: keys of slot %d: %v", m.slot, err)
		}
		if len(keys) == 0 {
			return
		}
		m.Move(keys...)
	}
}

// Move moves some keys of the slot.
func (m *Migration) Move(keys ...string) {
	m.c.t.Helper()
	host, port := split(m.to.Announced())
	args := []any{"migrate", host, port, "", 0, 5000, "auth2", administrator, administrator, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	m.do(m.from, args...)
}

// End moves the keys that are left, gives the slot to its new primary, and waits until all
// nodes know. A slot that moves on before that may have two primaries of one epoch: then
// one of them deletes its keys.
func (m *Migration) End() {
	m.c.t.Helper()
	m.Keys()
	m.do(m.to, "cluster", "setslot", m.slot, "node", m.c.ids[m.to])
	m.do(m.from, "cluster", "setslot", m.slot, "node", m.c.ids[m.to])
	for _, s := range m.c.Primaries() {
		m.do(s, "cluster", "setslot", m.slot, "node", m.c.ids[m.to])
	}
	m.c.Ready()
}

// Abandon leaves the slot where it was, if no key has moved.
func (m *Migration) Abandon() {
	m.c.t.Helper()
	m.do(m.from, "cluster", "setslot", m.slot, "stable")
	m.do(m.to, "cluster", "setslot", m.slot, "stable")
}

func (m *Migration) do(s *RedisServer, args ...any) {
	m.c.t.Helper()
	if err := s.Admin().Do(context.Background(), args...).Err(); err != nil {
		m.c.t.Fatalf("redis: %s on %s: %v", fmt.Sprint(args...), s.Addr(), err)
	}
}

// MoveSlot moves the slot of a key to another primary.
func (c *RedisCluster) MoveSlot(key string, to *RedisServer) {
	c.t.Helper()
	c.Migrate(key, to).End()
}

// Failover has a replica take over in order from its primary, or without asking
// anybody (TAKEOVER), and returns when it has.
func (c *RedisCluster) Failover(replica *RedisServer, options ...any) {
	c.t.Helper()
	if err := replica.Admin().Do(context.Background(), append([]any{"cluster", "failover"}, options...)...).Err(); err != nil {
		c.t.Fatalf("redis: failover: %v", err)
	}
	if !await(func() bool { n := c.self(replica); return n != nil && n.primary() }) {
		c.t.Fatalf("redis: %s is not primary within %v", replica.Addr(), patience)
	}
}

// Takeover has a replica take over without asking anybody, and returns when it has.
func (c *RedisCluster) Takeover(replica *RedisServer) {
	c.t.Helper()
	c.Failover(replica, "takeover")
}
