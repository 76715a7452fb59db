package trac

import (
	"context"
	"fmt"

	"github.com/tracbus/tracbus"
)

// The keys of what a running Trac caches in memory: the names of all pages, the text
// of the page InterMapTxt, the milestones (since Trac 1.2), and the fields of tickets
// with their options, which are the names of milestones, components and versions. At the beginning of each request it reads
// their generations in the table cache, and drops what has a newer one
// (trac/cache.py, the same from Trac 1.0 to 1.6).
const (
	tracPagesCache      = "trac.wiki.api.WikiSystem.pages"
	tracInterWikiCache  = "trac.wiki.interwiki.InterWikiMap.interwiki_map"
	tracMilestonesCache = "trac.ticket.model.MilestoneCache.milestones"
	tracFieldsCache     = "trac.ticket.api.TicketSystem.fields"
)

// invalidateTracCache makes every Trac on this database drop, after the commit,
// what it caches for key. The row stays locked until then, as it does when Trac
// invalidates. If the database has no such table, there is no Trac.
func invalidateTracCache(ctx context.Context, tx *tracbus.ModelTransaction, key string) error {
	tables := tablesOf(tx)
	if ok, err := tables.Has(ctx, "cache"); !ok || err != nil {
		return err
	}
	// One statement: if two transactions are the first to need a key, one inserts
	// the row, and the other waits and then adds to it.
	_, err := tables.Exec(ctx, `INSERT INTO {cache} (id, generation, "key") VALUES (?, 0, ?)
		{OR UPDATE} generation = cache.generation + 1`, tracCacheID(key), key)
	if err != nil {
		return fmt.Errorf("invalidate Trac's cache %s: %w", key, err)
	}
	return nil
}

// tracCacheID returns the number that Trac gives to a key (key_to_id): the
// string hash of Python 2, in 31 bits.
func tracCacheID(key string) int64 {
	var id int64
	for i, c := range []rune(key) {
		if i == 0 {
			id = int64(c) << 7
		}
		id = id*1000003&0x7fffffff ^ int64(c)
	}
	return id ^ int64(len([]rune(key)))
}
