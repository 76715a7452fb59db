package guard

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
)

// randomPieces reads a random number of bytes at a time.
type randomPieces struct {
	r    io.Reader
	dice *rand.Rand
}

func (p randomPieces) Read(b []byte) (int, error) {
	return p.r.Read(b[:min(len(b), 1+p.dice.IntN(40))])
}

// However the bytes come, the verdict is the same, and so are the answers that
// were whole before it. Nothing is changed but errors.
func FuzzGuard(f *testing.F) {
	for _, sent := range []string{honest, "*1000000000\r\n", "$99999\r\n", "-ERR 'secret'\r\n+OK\r\n", "!6\r\nsecret\r\n:1\r\n", "HTTP/1.1"} {
		f.Add([]byte(sent), uint64(1))
	}
	for piece := range strings.SplitAfterSeq(honest, "\n") {
		f.Add([]byte(piece), uint64(2))
	}
	f.Fuzz(func(t *testing.T, sent []byte, seed uint64) {
		whole := func(r io.Reader) io.Reader { return r }
		got, fault := through(t, string(sent), whole, 1<<16, small(), "secret")
		for _, pieces := range []func(io.Reader) io.Reader{
			iotest.OneByteReader,
			func(r io.Reader) io.Reader { return randomPieces{r, rand.New(rand.NewPCG(seed, 0))} },
		} {
			again, same := through(t, string(sent), pieces, 1+int(seed%50), small(), "secret")
			assert.Equal(t, fault, same)
			if fault == nil {
				assert.Equal(t, got, again)
			} else {
				shorter, longer := got, again
				if len(got) > len(again) {
					shorter, longer = again, got
				}
				assert.True(t, strings.HasPrefix(longer, shorter))
				assert.NotContains(t, longer[len(shorter):], "\n")
			}
		}
		if !bytes.ContainsAny(sent, "-!") {
			assert.True(t, bytes.HasPrefix(sent, []byte(got)))
		}
	})
}
