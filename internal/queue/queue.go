// Package queue holds what waits, within a bound: the newest of it.
package queue

// Queue is a first-in first-out queue that drops its oldest element rather than
// grow beyond its limit. Its memory grows as needed and stays. It is not for
// concurrent use.
type Queue[T any] struct {
	limit int
	ring  []T
	head  int
	n     int
}

// New returns an empty queue for up to limit elements.
func New[T any](limit int) Queue[T] { return Queue[T]{limit: limit} }

// Len returns how many elements wait.
func (q *Queue[T]) Len() int { return q.n }

// First returns the oldest element; there must be one.
func (q *Queue[T]) First() T { return q.ring[q.head] }

// Push adds e at the end. It reports true if it dropped the oldest for it.
func (q *Queue[T]) Push(e T) (dropped bool) {
	if q.n >= q.limit {
		q.drop()
		dropped = true
	} else if q.n == len(q.ring) {
		q.grow(q.limit)
	}
	q.ring[q.index(q.n)] = e
	q.n++
	return dropped
}

// Grow adds e at the end, beyond the limit if need be.
func (q *Queue[T]) Grow(e T) {
	if q.n == len(q.ring) {
		q.grow(max(q.limit, 2*q.n))
	}
	q.ring[q.index(q.n)] = e
	q.n++
}

// Clear drops all elements.
func (q *Queue[T]) Clear() {
	for q.n > 0 {
		q.drop()
	}
}

// Pop moves up to most of the oldest elements to the end of dst.
func (q *Queue[T]) Pop(dst []T, most int) []T {
	for range min(q.n, most) {
		dst = append(dst, q.First())
		q.drop()
	}
	return dst
}

func (q *Queue[T]) drop() {
	var zero T
	q.ring[q.head] = zero // for the garbage collector
	q.head = q.index(1)
	q.n--
}

func (q *Queue[T]) grow(most int) {
	ring := make([]T, min(max(2*len(q.ring), 16), most))
	copied := copy(ring, q.ring[q.head:])
	copy(ring[copied:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

func (q *Queue[T]) index(i int) int {
	if i += q.head; i >= len(q.ring) {
		i -= len(q.ring)
	}
	return i
}
