package tracbus

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/publish/script"
	"github.com/tracbus/tracbus/internal/value"
)

// A sentFields is an event whose payload holds fields of any type.
type sentFields interface {
	// sent returns those that are in the payload, and the old ones.
	sent(all bool) (values, old Fields)
}

// tidBits are how many bits of a stream entry's id are the tid's. Those before
// are the branch's.
const tidBits = 48

// appendEntry appends what a stream's entry has beside channel and payload, in
// the order in which the script takes it.
func (c PublisherConfig) appendEntry(b *script.Batch, e Event, branch int64) error {
	about := e.About()
	if about.TID>>tidBits != 0 || branch>>(64-tidBits) != 0 {
		return fmt.Errorf("id of an entry: tid %d, branch %d: expected less than 2^48 and 2^16, from 0", about.TID, branch)
	}
	b.Buffer = strconv.AppendUint(b.Buffer, uint64(branch)<<tidBits|uint64(about.TID), 10)
	b.Buffer = append(b.Buffer, '-')
	b.Number(int64(about.Seq))
	if about.Time.IsZero() {
		b.Text("")
	} else {
		b.Number(about.Time.UnixMicro())
	}
	b.Text(about.Author)
	b.Text(about.IPNR)
	if about.Authenticated {
		b.Text("1")
	} else {
		b.Text("0")
	}
	b.Text(about.Comment)
	var values, old Fields
	if e, ok := e.(sentFields); ok {
		values, old = e.sent(c.FullNewValues)
	}
	b.Buffer = appendTypes(b.Buffer, values)
	b.Cut()
	b.Buffer = appendTypes(b.Buffer, old)
	b.Cut()
	return nil
}

// appendTypes appends a JSON object of the types that JSON does not have, by the
// names of the fields, or nothing if there are none.
func appendTypes(dst []byte, f Fields) []byte {
	var few [8]string
	times := few[:0]
	for name, v := range f {
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
