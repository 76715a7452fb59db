package store

import (
	"context"
	"hash/fnv"
	"slices"
	"sync"
)

// Lock locks resources, each a realm and an id, and those of [Conn.LockLater], until q's transaction ends:
// among all who lock them like this, one at a time goes on.
func (s *Store) Lock(ctx context.Context, q SQL, resources ...[2]string) (err error) {
	slots, n := s.slots(q, resources...)
	if len(slots) == 0 {
		return nil
	}
	defer s.Within(s.limits.Lock, &ctx, &err)()
	for _, slot := range slots {
		if err := s.dialect.lock(s, ctx, q, slot); err != nil {
			return err
		}
	}
	if c, own := q.(*Conn); own {
		c.locked(n)
	}
	return nil
}

// later is what is to be locked before the next statement, or with it.
type later struct {
	mu        sync.Mutex // the application's statements may be another goroutine's
	resources [][2]string
}

// LockLater has a resource locked by the next Lock or Append: with the rows of the journal, in
// one round trip, unless a statement comes before that may rely on it. Who runs one calls
// Lock first.
func (c *Conn) LockLater(resource [2]string) {
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	c.later.resources = append(c.later.resources, resource)
}

// locked says that the first n are.
func (c *Conn) locked(n int) {
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	c.later.resources = c.later.resources[n:]
}

// slots returns the slots of resources and of those n that were to be locked later, none if
// the database needs none.
func (s *Store) slots(q SQL, resources ...[2]string) (slots []int64, n int) {
	if s.dialect.oneWriter {
		return nil, 0
	}
	if c, own := q.(*Conn); own {
		c.later.mu.Lock()
		defer c.later.mu.Unlock()
		resources, n = append(resources, c.later.resources...), len(c.later.resources)
	}
	return Slots(resources), n
}

// LockFloor locks up to where the journal is pruned, until q's transaction ends: for who
// raises that, and for who begins at the oldest change.
func (s *Store) LockFloor(ctx context.Context, q SQL) (err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	return s.Lock(ctx, q, [2]string{"", "floor"})
}

// slots is how many locks there are for all resources together. PostgreSQL has
// room for some 6,400 locks, MySQL's need a row each.
const slots = 4096

// Slots returns the slots of resources, in one order, so that two who lock the same do
// not wait for each other.
func Slots(resources [][2]string) (all []int64) {
	for _, r := range resources {
		h := fnv.New32a()
		_, _ = h.Write([]byte(r[0] + "\x00" + r[1]))
		all = append(all, int64(h.Sum32()%slots))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
