package tracbus

import "time"

// WithRefill returns a subscriber that gives a stream which fell back another
// time to come on again.
func (s *Subscriber) WithRefill(d time.Duration) *Subscriber {
	c := *s
	c.refill = d
	return &c
}
