package publish

import "github.com/tracbus/tracbus/internal/publish/pipeline"

// buffer holds the messages of one round trip until Redis has acknowledged them.
// There are two, which are used alternately: their memory is used again.
type buffer[E any] struct {
	bytes    []byte // all channels and payloads, one after the other
	ends     []int  // where each ends in bytes
	messages []pipeline.Message
	events   []E // that the messages are of
}

// fill fills b with the messages of the first events, and returns the events that
// are left for another buffer.
func (p *pipelined[E]) fill(b *buffer[E], events []E) (rest []E) {
	b.bytes, b.ends, b.messages, b.events = b.bytes[:0], b.ends[:0], b.messages[:0], b.events[:0]
	for len(events) > 0 && len(b.events) < maxMessages && len(b.bytes) < maxBytes {
		e := events[0]
		events = events[1:]
		if !p.codec.Wants(e) {
			continue
		}
		bytes, middle, err := messageOf(p.codec, b.bytes, e, p.longest)
		if err != nil {
			p.reject(e, err)
			continue
		}
		b.bytes = bytes
		b.ends = append(b.ends, middle, len(bytes))
		b.events = append(b.events, e)
	}
	start := 0
	for i := 0; i < len(b.ends); i += 2 {
		middle, end := b.ends[i], b.ends[i+1]
		b.messages = append(b.messages, pipeline.Message{Channel: b.bytes[start:middle], Payload: b.bytes[middle:end]})
		start = end
	}
	return events
}
