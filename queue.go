package tracbus

// queue holds the events that wait for one listener: the newest of them, up to
// a limit. It grows as needed and keeps what it has grown to.
type queue struct {
	limit int
	ring  []Event
	head  int
	n     int
}

// push adds e at the end. It reports true if it dropped the oldest for it.
func (q *queue) push(e Event) (dropped bool) {
	if q.n == q.limit {
		q.ring[q.head] = nil
		q.head = q.index(1)
		q.n--
		dropped = true
	} else if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[q.index(q.n)] = e
	q.n++
	return dropped
}

func (q *queue) grow() {
	ring := make([]Event, min(max(2*len(q.ring), 16), q.limit))
	copied := copy(ring, q.ring[q.head:])
	copy(ring[copied:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}

func (q *queue) index(i int) int {
	if i += q.head; i >= len(q.ring) {
		i -= len(q.ring)
	}
	return i
}

// pop moves up to most of the oldest events to the end of dst.
func (q *queue) pop(dst []Event, most int) []Event {
	for range min(q.n, most) {
		dst = append(dst, q.ring[q.head])
		q.ring[q.head] = nil
		q.head = q.index(1)
		q.n--
	}
	return dst
}

// first returns the oldest event; there must be one.
func (q *queue) first() Event { return q.ring[q.head] }
