package publish

import (
	"strings"

	"github.com/tracbus/tracbus/internal/redisconn"
)

// slotTag returns the part of a key by which Redis Cluster chooses its slot: what
// is between the first { and the first } after it, unless that is nothing;
// otherwise the whole key.
func slotTag(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// StreamKeyWant is what a stream's key must be. Otherwise no other key can be made
// that is in its slot for certain, because that would need a } in its tag.
const StreamKeyWant = "a key without }, or with braces around a part of it, as in {trac}:changes"

// IsStreamKey says whether key can be a stream's: see [StreamKeyWant].
func IsStreamKey(key string) bool { return !strings.Contains(slotTag(key), "}") }

// StateKey returns the key under which Redis keeps how far a durable consumer has come: in
// the stream's slot, if there is a stream. Else in a cluster it is in the slot at whose node
// subscribers subscribe, because a message that is published at another one can be lost on
// its way there.
func StateKey(stream string, cluster bool, journal, consumer string) string {
	switch {
	case stream != "":
		return "tracbus:{" + slotTag(stream) + "}:" + journal + ":" + consumer + ":place"
	case cluster:
		return "tracbus:{" + redisconn.AnyKey + "}:" + journal + ":" + consumer + ":place"
	}
	return "tracbus:{" + journal + ":" + consumer + "}:place"
}
