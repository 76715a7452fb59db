package record

import (
	"testing"
)

// TestPlainReaderLoses tells the story of tids 5 and 6 to the checker.
func TestPlainReaderLoses(t *testing.T) {
	r := Run{Name: "p1.1"}
	for _, l := range []struct {
		word Word
		tid  int64
	}{{PlainStart, 4}, {PlainRead, 6}, {PlainRead, 7}} { // 5 committed after 6 was read
		r.lines = append(r.lines, Line{Word: l.word, Place: Place{TID: l.tid}})
	}
	v, read := CheckPlain([]int64{1, 2, 3, 4, 5, 6, 7, 8}, []Run{r})
	if got := v.Counts[Lost]; got != 1 || read != 2 {
		t.Errorf("of 3 transactions\n got %d lost, %d read\nwant 1 lost, 2 read", got, read)
	}
	t.Log(v)
}
