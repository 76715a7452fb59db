package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tracbus/tracbus"
)

// sound is a history in which nothing is wrong: ten changes of each writer, a
// second apart, of which the subscriber missed the fifth, and was told.
func sound() history {
	begin := time.UnixMicro(1e15)
	h := history{
		commits: map[role][]time.Time{}, heard: map[string][]note{}, stats: map[role]*tracbus.PublisherStats{},
		publications: map[change][]publication{}, moves: map[role]bool{durable: true, primary: true},
		reigns: []reign{{begin, 0}}, struck: begin.Add(4 * time.Second), ended: begin.Add(12 * time.Second), patient: map[string]time.Duration{},
	}
	h.heard["ear"] = append(h.heard["ear"], note{Word: resyncWord, At: begin.UnixMicro()})
	for n := 1; n <= 10; n++ {
		at := begin.Add(time.Duration(n) * time.Second)
		for _, writer := range writers {
			h.commits[writer] = append(h.commits[writer], at)
			h.publications[change{writer, n}] = []publication{{at, 0}}
			if n != 5 {
				h.heard["ear"] = append(h.heard["ear"], note{Word: heardWord, At: at.UnixMicro(), Writer: string(writer), N: n})
			}
		}
		if n == 5 {
			h.heard["ear"] = append(h.heard["ear"], note{Word: resyncWord, At: at.Add(time.Second / 2).UnixMicro()})
		}
		h.stream = append(h.stream, n)
		h.read = append(h.read, note{Word: entryWord, At: at.UnixMicro(), Writer: string(durable), N: n})
	}
	for _, writer := range writers {
		h.stats[writer] = &tracbus.PublisherStats{Published: 10}
	}
	return h
}

// TestTheChecker spoils a sound history in each way that the checker is for.
func TestTheChecker(t *testing.T) {
	if v := check(sound()); len(v.found) > 0 || v.missed["ear"] != 2 {
		t.Errorf("a sound history: missed %d, %v", v.missed["ear"], v)
	}
	forgetful := sound() // then a message may come again
	forgetful.reigns = append(forgetful.reigns, reign{forgetful.struck, 1})
	forgetful.moves = nil
	forgetful.heard["ear"] = append(forgetful.heard["ear"], forgetful.heard["ear"][1])
	if v := check(forgetful); len(v.found) > 0 || v.again != 1 {
		t.Errorf("a message came again after a failover: %v", v)
	}
	resync := func(h *history) int {
		return slices.IndexFunc(h.heard["ear"][1:], func(n note) bool { return n.Word == resyncWord }) + 1
	}
	for _, tc := range []struct {
		name  string
		spoil func(h *history)
		want  int
	}{
		{"an entry is not in the stream", func(h *history) { h.stream = slices.Delete(h.stream, 3, 4) }, isLost},
		{"an entry is twice in the stream", func(h *history) { h.stream = append(h.stream, 10) }, isTwice},
		{"two entries are in the wrong order", func(h *history) { h.stream[3], h.stream[4] = h.stream[4], h.stream[3] }, isReordered},
		{"the reader does not have an entry", func(h *history) { h.read = slices.Delete(h.read, 3, 4) }, isLost},
		{"the reader has an entry twice", func(h *history) { h.read = append(h.read, h.read[9]) }, isTwice},
		{"the reader is told of a loss", func(h *history) { h.read = append(h.read, note{Word: resyncWord}) }, isResync},
		{"the Resync is missing", func(h *history) { h.heard["ear"] = slices.Delete(h.heard["ear"], resync(h), resync(h)+1) }, isSilent},
		{"the Resync came before the loss", func(h *history) { h.heard["ear"][resync(h)].At -= 2e6 }, isSilent},
		{"the Resync came before what was heard last", func(h *history) {
			ear, at := h.heard["ear"], resync(h)
			ear[at], ear[at-1] = ear[at-1], ear[at]
		}, isSilent},
		{"the Resync came late", func(h *history) { h.heard["ear"][resync(h)].At += 11e6 }, isTardy},
		{"two messages came in the wrong order", func(h *history) {
			ear := h.heard["ear"]
			ear[1], ear[3] = ear[3], ear[1]
		}, isReordered},
		{"a message came again", func(h *history) { h.heard["ear"] = append(h.heard["ear"], h.heard["ear"][1]) }, isTwice},
		{"the Resync came before what nobody heard of the primary publisher", func(h *history) {
			at := resync(h)
			h.heard["ear"][at].At -= 1.2e6
			h.heard["ear"] = slices.Insert(h.heard["ear"], at, note{Word: heardWord, Writer: string(durable), N: 5})
		}, isSilent},
		{"a message that nobody sent", func(h *history) { h.heard["ear"][1].N = 99 }, isFault},
		{"an event that is none", func(h *history) { h.heard["ear"][1].Word = faultWord }, isFault},
		{"the publisher counts another number", func(h *history) { h.stats[primary].Published = 9 }, isCount},
		{"the publisher drops", func(h *history) { h.stats[durable].Dropped = 1 }, isCount},
		{"the publisher does not end", func(h *history) { h.stats[durable] = nil }, isFault},
		{"the publisher is where nobody is", func(h *history) {
			for n := 6; n <= 10; n++ {
				h.publications[change{primary, n}][0].server = 1
			}
			h.ended = h.ended.Add(forever)
		}, isStuck},
		{"something does not come back", func(h *history) { h.stuck = []string{"it"} }, isStuck},
		{"the password is told", func(h *history) { h.told = []string{"it"} }, isSecret},
	} {
		h := sound()
		tc.spoil(&h)
		if v := check(h); v.counts[tc.want] == 0 {
			t.Errorf("%s: expected %q, found %v", tc.name, kinds[tc.want], v)
		}
	}
}

// TestAMonitorLineIsRead reads lines as Redis writes them.
func TestAMonitorLineIsRead(t *testing.T) {
	const publish = `"trac.primary.ticket.created" "{\"env\": \"primary\", \"id\": 7, \"values\": {}}"`
	for line, want := range map[string]change{
		`+1339518083.107412 [0 127.0.0.1:60866] "publish" ` + publish + "\r\n": {primary, 7},
		`+1339518083.107412 [0 lua] "PUBLISH" ` + publish + "\r\n":             {primary, 7},
		`+1339518083.107412 [0 127.0.0.1:60866] "ping"` + "\r\n":               {},
		"+OK\r\n": {},
	} {
		got, at, ok := published(line)
		if got != want || ok != (want.n > 0) || ok && at.UnixMicro() != 1339518083107412 {
			t.Errorf("%s\n got %v at %v, %v\nwant %v", line, got, at, ok, want)
		}
	}
}
