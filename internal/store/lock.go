package store

import (
	"context"
	"hash/fnv"
	"slices"
)

// Lock locks resources, each a realm and an id, until q's transaction ends:
// among all who lock them like this, one at a time goes on.
func (s *Store) Lock(ctx context.Context, q SQL, resources ...[2]string) (err error) {
	defer s.Within(s.limits.Lock, &ctx, &err)()
	if s.dialect.oneWriter {
		return nil
	}
	for _, slot := range slotsOf(resources) {
		if err := s.dialect.lock(s, ctx, q, slot); err != nil {
			return err
		}
	}
	return nil
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

// slotsOf returns the slots of resources, in one order, so that two who lock the same do
// not wait for each other.
func slotsOf(resources [][2]string) (all []int64) {
	for _, r := range resources {
		h := fnv.New32a()
		_, _ = h.Write([]byte(r[0] + "\x00" + r[1]))
		all = append(all, int64(h.Sum32()%slots))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
