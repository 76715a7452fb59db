package trac

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// key_to_id of trac/cache.py, as Python computes it.
func TestTracCacheID(t *testing.T) {
	for key, want := range map[string]int64{
		"":                                    0,
		"trac.wiki.api.WikiSystem.pages":      901198563,
		"trac.ticket.api.TicketSystem.fields": 660951007,
		"trac.wiki.interwiki.InterWikiMap.interwiki_map": 2085311731,
	} {
		assert.Equal(t, want, tracCacheID(key), key)
	}
}
