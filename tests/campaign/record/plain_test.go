package tracbus_test

import (
	"testing"
)

// TestPlainReaderLoses tells the story of tids 5 and 6 to the checker.
func TestPlainReaderLoses(t *testing.T) {
	r := attackRun{name: "p1.1"}
	for _, l := range []struct {
		word attackWord
		tid  int64
	}{{plainStart, 4}, {plainRead, 6}, {plainRead, 7}} { // 5 committed after 6 was read
		r.lines = append(r.lines, attackLine{Word: l.word, attackPlace: attackPlace{TID: l.tid}})
	}
	v, read := checkPlain([]int64{1, 2, 3, 4, 5, 6, 7, 8}, []attackRun{r})
	if got := v.counts[isLost]; got != 1 || read != 2 {
		t.Errorf("of 3 transactions\n got %d lost, %d read\nwant 1 lost, 2 read", got, read)
	}
	t.Log(v)
}
