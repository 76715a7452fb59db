package publish

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/stream"
	"github.com/tracbus/tracbus/internal/tracecontext"
	"github.com/tracbus/tracbus/internal/value"
)

// Entry is what a stream's entry has besides channel and payload.
type Entry struct {
	Time          time.Time // zero if not known
	Author        string
	IPNR          string
	Authenticated bool
	Comment       string

	// Trace is that of the change. The entry has no field of it if there is none.
	Trace tracecontext.Context

	// Values and Old are the fields that the payload has, and their old values.
	// The entry says which of them are times, because JSON does not.
	Values, Old map[string]any
}

// entryID returns the first number of an entry's id.
func entryID(generation, tid int64) (uint64, error) {
	if tid>>stream.TIDBits != 0 || generation>>(64-stream.TIDBits) != 0 {
		return 0, fmt.Errorf("id of an entry: tid %d, generation %d: expected less than 2^48 and 2^16, from 0", tid, generation)
	}
	return uint64(generation)<<stream.TIDBits | uint64(tid), nil
}

// appendEntry appends an entry, in the order in which the script takes it.
func appendEntry(b *script.Batch, id uint64, seq int, e Entry) {
	b.Buffer = strconv.AppendUint(b.Buffer, id, 10)
	b.Buffer = append(b.Buffer, '-')
	b.Number(int64(seq))
	if e.Time.IsZero() {
		b.Text("")
	} else {
		b.Number(e.Time.UnixMicro())
	}
	b.Text(e.Author)
	b.Text(e.IPNR)
	if e.Authenticated {
		b.Text("1")
	} else {
		b.Text("0")
	}
	b.Text(e.Comment)
	b.Buffer = appendTypes(b.Buffer, e.Values)
	b.Cut()
	b.Buffer = appendTypes(b.Buffer, e.Old)
	b.Cut()
	b.Text(e.Trace.Parent)
	b.Text(e.Trace.State)
}

// appendTypes appends a JSON object of the types that JSON does not have, by the
// names of the fields, or nothing if there are none.
func appendTypes(dst []byte, fields map[string]any) []byte {
	var few [8]string
	times := few[:0]
	for name, v := range fields {
		if _, ok := v.(time.Time); ok {
			times = append(times, name)
		}
	}
	if len(times) == 0 {
		return dst
	}
	slices.SortFunc(times, strings.Compare)
	dst = append(dst, '{')
	for _, name := range times {
		dst = append(value.AppendKey(dst, name), `"time"`...)
	}
	return append(dst, '}')
}
