package failover_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/testkit"
)

// history is what the tables, the servers and the logs tell of a round.
type history struct {
	commits map[role][]time.Time // of tickets 1, 2, 3 and so on, as the tables have them
	stream  []int                // tickets in the stream of the server that serves in the end
	read    []note               // of the stream's reader
	heard   map[string][]note    // of each subscriber
	stats   map[role]*tracbus.PublisherStats

	publications map[change][]publication
	reigns       []reign
	moves        map[role]bool // the reigns are those of the server where it publishes

	cluster bool          // nodes pass messages on to each other
	struck  time.Time     // when the fault began
	ended   time.Time     // when all should have been heard
	outage  time.Duration // of Redis itself
	stuck   []string      // what did not come back within the bound
	faults  []string      // what writers say must not happen
	told    []string      // what has the password
	patient map[string]time.Duration
}

// The ways in which a round can be wrong.
const (
	isLost = iota
	isTwice
	isReordered
	isSilent
	isTardy
	isResync
	isCount
	isStuck
	isFault
	isSecret
)

var kinds = [...]string{"lost", "duplicated", "reordered", "missed in silence", "told late", "resync", "count", "stuck", "fault", "secret"}

const (
	// unsharp is how much later than a subscriber a server's clock may seem to be:
	// what is on its way when a subscription begins.
	unsharp = 500 * time.Millisecond
	// prompt is how long a Resync may take after a loss, beyond the silence after which
	// a subscriber asks.
	prompt = 10 * time.Second
)

// verdict is what the checker finds.
type verdict struct {
	history
	counts [len(kinds)]int
	found  testkit.Findings

	missed  map[string]int           // by each subscriber
	resyncs map[string]int           // for each
	tardy   map[string]time.Duration // the longest time from a loss to its Resync
	again   int                      // came again, as may be
	late    int                      // came after later ones, as may be in a cluster
	void    int                      // published by the primary publisher, and heard by nobody
}

func (v *verdict) add(kind int, format string, args ...any) {
	if v.counts[kind]++; v.counts[kind] <= 4 {
		v.found.Add(kinds[kind]+": "+format, args...)
	}
}

// String tells all.
func (v *verdict) String() string {
	var b strings.Builder
	for kind, n := range v.counts {
		if n > 0 {
			fmt.Fprintf(&b, "%s %d, ", kinds[kind], n)
		}
	}
	if b.Len() == 0 {
		b.WriteString("nothing wrong, ")
	}
	fmt.Fprintf(&b, "came again %d, came late %d, heard by nobody %d", v.again, v.late, v.void)
	for _, sentence := range v.found {
		b.WriteString("\n  " + sentence)
	}
	return b.String()
}

// check finds all that contradicts the promises. It uses nothing of the library.
func check(h history) *verdict {
	v := &verdict{history: h, missed: map[string]int{}, resyncs: map[string]int{}, tardy: map[string]time.Duration{}}
	for _, what := range h.stuck {
		v.add(isStuck, "%s", what)
	}
	for _, what := range h.faults {
		v.add(isFault, "%s", what)
	}
	for _, what := range h.told {
		v.add(isSecret, "%s", what)
	}
	v.checkStream()
	v.checkReader()
	for _, ear := range sortedKeys(h.heard) {
		v.checkAsides(ear, h.heard[ear])
		for _, writer := range writers {
			v.checkHeard(ear, writer)
		}
	}
	v.countVoid()
	v.checkSilence()
	v.checkStats()
	return v
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkStream: the stream has each change of its journal once, in order.
func (v *verdict) checkStream() { v.checkOrder("the stream", v.stream) }

// checkReader: so has its reader, who is told of nothing else but where it begins.
func (v *verdict) checkReader() {
	var read []int
	for _, n := range v.read {
		switch {
		case n.Word == entryWord && n.Writer != string(durable):
			v.add(isFault, "the reader has an entry of %q", n.Writer)
		case n.Word == entryWord:
			read = append(read, n.N)
		case n.Word == resyncWord && len(read) > 0:
			v.add(isResync, "the reader was told %q after %d entries, although the stream lost nothing", n.Text, len(read))
		}
	}
	v.checkAsides(readerName, v.read)
	v.checkOrder("the reader", read)
}

func (v *verdict) checkOrder(who string, tickets []int) {
	seen, top := map[int]bool{}, 0
	for _, n := range tickets {
		switch {
		case seen[n]:
			v.add(isTwice, "%s has ticket %d twice", who, n)
		case n < top:
			v.add(isReordered, "%s has ticket %d after %d", who, n, top)
		case n > len(v.commits[durable]):
			v.add(isFault, "%s has ticket %d, which the tables do not have", who, n)
		}
		seen[n], top = true, max(top, n)
	}
	for n := 1; n <= len(v.commits[durable]); n++ {
		if !seen[n] {
			v.add(isLost, "%s has not ticket %d", who, n)
		}
	}
}

// checkAsides looks at what is no change.
func (v *verdict) checkAsides(who string, notes []note) {
	for _, n := range notes {
		switch n.Word {
		case faultWord:
			v.add(isFault, "%s: %s", who, n.Text)
		case resyncWord:
			v.resyncs[who]++
		}
	}
}

// checkHeard: a subscriber heard each change of a writer, or was told afterwards
// that it missed some. Between two Resyncs, those it hears for the first time come
// in order, except in a cluster: a node that stood, or from which the slot has moved,
// may still pass on what it was given.
func (v *verdict) checkHeard(ear string, writer role) {
	notes := v.heard[ear]
	first, top := map[int]int{}, 0 // where each was heard; the last one since the last Resync
	late := map[int]bool{}         // those that came after later ones
	for i, n := range notes {
		switch {
		case n.Word == resyncWord:
			top = 0
		case n.Word != heardWord || n.Writer != string(writer):
		case n.N < 1 || n.N > len(v.commits[writer]):
			v.add(isFault, "%s heard of ticket %d of %s, which the tables do not have", ear, n.N, writer)
		default:
			if _, ok := first[n.N]; ok {
				if v.again++; writer == durable && v.oneServed() {
					v.add(isTwice, "%s heard ticket %d of %s again, although no server forgot it", ear, n.N, writer)
				}
				continue
			}
			if late[n.N] = n.N < top; late[n.N] && v.cluster {
				v.late++
			} else if late[n.N] {
				v.add(isReordered, "%s heard ticket %d of %s after %d", ear, n.N, writer, top)
			}
			first[n.N], top = i, max(top, n.N)
		}
	}
	before := -1 // where the last one before was heard
	for n := 1; n <= len(v.commits[writer]); n++ {
		if i, ok := first[n]; ok {
			if !late[n] {
				before = max(before, i)
			}
			continue
		}
		v.missed[ear]++
		v.checkTold(ear, change{writer, n}, before)
	}
}

// oneServed says whether the same server served all the time: then its script has
// forgotten nothing, and a durable publisher does not publish a change twice.
func (v *verdict) oneServed() bool {
	first := nobody
	for _, r := range v.reigns {
		if r.server != nobody && first == nobody {
			first = r.server
		}
		if r.server != nobody && r.server != first {
			return false
		}
	}
	return true
}

// checkTold: a Resync came when a change that a subscriber missed had been
// published, and after the last one that it heard before.
func (v *verdict) checkTold(ear string, c change, before int) {
	published := v.publishedAt(c)
	since := published.Add(-unsharp)
	notes := v.heard[ear]
	for i := before + 1; i < len(notes); i++ {
		if notes[i].Word != resyncWord || notes[i].time().Before(since) {
			continue
		}
		late := notes[i].time().Sub(published)
		v.tardy[ear] = max(v.tardy[ear], late)
		if bound := prompt + 2*v.patient[ear]; late > bound {
			v.add(isTardy, "%s missed ticket %d of %s, and was told %v later", ear, c.n, c.writer, late)
		}
		return
	}
	v.add(isSilent, "%s missed ticket %d of %s, published %v after the fault began, and was not told afterwards",
		ear, c.n, c.writer, published.Sub(v.struck).Round(time.Millisecond))
}

func (v *verdict) heardByAnyone(c change) bool {
	for _, notes := range v.heard {
		if slices.ContainsFunc(notes, func(n note) bool { return n.Word == heardWord && n.N == c.n && n.Writer == string(c.writer) }) {
			return true
		}
	}
	return false
}

// publishedAt returns when a change was published for the last time where that is
// heard. If no server has told of it, it was not before the commit.
func (v *verdict) publishedAt(c change) time.Time {
	published := v.commits[c.writer][c.n-1]
	for i, p := range v.publications[c] {
		if i == 0 || v.serves(c.writer, p) {
			published = p.at
		}
	}
	return published
}

// serves says whether a writer's subscribers hear what was published there.
func (v *verdict) serves(writer role, p publication) bool {
	return !v.moves[writer] || at(v.reigns, p.at) == p.server || at(v.reigns, p.at.Add(unsharp)) == p.server
}

// checkSilence: nobody is away for ever.
func (v *verdict) checkSilence() {
	for _, writer := range writers {
		if d := v.silence(writer); d > v.outage+forever {
			v.add(isStuck, "the %s publisher published nothing for %v, Redis was away for %v", writer, d, v.outage)
		}
	}
}

// countVoid counts what the primary publisher published for nobody.
func (v *verdict) countVoid() {
	for n := range v.commits[primary] {
		if !v.heardByAnyone(change{primary, n + 1}) {
			v.void++
		}
	}
}

// checkStats: publishers have counted what they did.
func (v *verdict) checkStats() {
	for _, writer := range writers {
		stats := v.stats[writer]
		if stats == nil {
			v.add(isFault, "the %s publisher has not ended in order", writer)
			continue
		}
		if n := stats.Rejected + stats.Dropped + stats.Unacknowledged; n > 0 {
			v.add(isCount, "the %s publisher gave up %d: %d rejected, %d dropped, %d not answered",
				writer, n, stats.Rejected, stats.Dropped, stats.Unacknowledged)
		}
		if writer == primary && stats.Published != uint64(len(v.commits[writer])) {
			v.add(isCount, "the primary publisher counts %d as published, of %d", stats.Published, len(v.commits[writer]))
		}
	}
}

// silence returns the longest time after the fault in which a writer published
// nothing where that is heard.
func (v *verdict) silence(writer role) time.Duration {
	var times []time.Time
	for c, publications := range v.publications {
		for _, p := range publications {
			if c.writer == writer && v.serves(writer, p) {
				times = append(times, p.at)
			}
		}
	}
	return v.longest(times)
}

// deafness returns the longest time after the fault in which a subscriber heard
// nothing.
func (v *verdict) deafness(notes []note) time.Duration {
	var times []time.Time
	for _, n := range notes {
		if n.Word == heardWord || n.Word == entryWord {
			times = append(times, n.time())
		}
	}
	return v.longest(times)
}

// longest returns the longest time between two, of which the second is after the
// fault; the end is one.
func (v *verdict) longest(times []time.Time) (d time.Duration) {
	times = append(times, v.ended)
	slices.SortFunc(times, time.Time.Compare)
	for i := range times {
		if i > 0 && times[i].After(v.struck) {
			d = max(d, times[i].Sub(times[i-1]))
		}
	}
	return d
}
