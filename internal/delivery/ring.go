package delivery

// ring is a first-in first-out queue that drops its oldest element rather than
// grow beyond its limit. Its memory grows as needed and stays. It is not for
// concurrent use.
type ring[T any] struct {
	limit int
	slots []T
	head  int
	n     int
}

// newRing returns an empty queue for up to limit elements.
func newRing[T any](limit int) ring[T] { return ring[T]{limit: limit} }

// Len returns how many elements wait.
func (r *ring[T]) Len() int { return r.n }

// First returns the oldest element; there must be one.
func (r *ring[T]) First() T { return r.slots[r.head] }

// Push adds e at the end. It reports true if it dropped the oldest for it.
func (r *ring[T]) Push(e T) (dropped bool) {
	if r.n >= r.limit {
		r.drop()
		dropped = true
	} else if r.n == len(r.slots) {
		r.grow(r.limit)
	}
	r.slots[r.index(r.n)] = e
	r.n++
	return dropped
}

// Grow adds e at the end, beyond the limit if need be.
func (r *ring[T]) Grow(e T) {
	if r.n == len(r.slots) {
		r.grow(max(r.limit, 2*r.n))
	}
	r.slots[r.index(r.n)] = e
	r.n++
}

// Pop moves up to most of the oldest elements to the end of dst.
func (r *ring[T]) Pop(dst []T, most int) []T {
	for range min(r.n, most) {
		dst = append(dst, r.First())
		r.drop()
	}
	return dst
}

func (r *ring[T]) drop() {
	var zero T
	r.slots[r.head] = zero // for the garbage collector
	r.head = r.index(1)
	r.n--
}

func (r *ring[T]) grow(most int) {
	slots := make([]T, min(max(2*len(r.slots), 16), most))
	copied := copy(slots, r.slots[r.head:])
	copy(slots[copied:], r.slots[:r.head])
	r.slots, r.head = slots, 0
}

func (r *ring[T]) index(i int) int {
	if i += r.head; i >= len(r.slots) {
		i -= len(r.slots)
	}
	return i
}
