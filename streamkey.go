package tracbus

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// slotTag returns the part of a key by which Redis Cluster chooses its slot:
// what stands between the first { and the first } behind it, unless that is
// nothing; else the whole key.
func slotTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// streamKeyWant is what a stream's key must be: otherwise no other key can be
// made that lies in its slot for certain, for that would need a } in its tag.
const streamKeyWant = "a key without }, or with braces around a part of it, as in {trac}:changes"

// checkStream says what is wrong with the settings of a stream.
func (c PublisherConfig) checkStream() error {
	switch {
	case strings.Contains(slotTag(c.StreamKey), "}"):
		return fmt.Errorf("with Stream %q: expected %s", c.StreamKey, streamKeyWant)
	case c.StreamMaxLen < 0 || c.StreamMaxAge < 0 || c.StreamMaxAge > 0 && c.StreamMaxAge < time.Millisecond:
		return fmt.Errorf("with StreamLength %d and StreamAge %v: expected none below zero, and no age below a millisecond", c.StreamMaxLen, c.StreamMaxAge)
	case c.StreamKey == "" && (c.StreamMaxLen != 0 || c.StreamMaxAge != 0):
		return errors.New("with StreamLength or StreamAge: expected a Stream too")
	}
	return nil
}

// stateKey returns where Redis keeps how far a Once name has come, in the
// stream's slot if there is one.
func stateKey(stream, journal, name string) string {
	if stream == "" {
		return "tracbus:{" + journal + ":" + name + "}:place"
	}
	return "tracbus:{" + slotTag(stream) + "}:" + journal + ":" + name + ":place"
}
