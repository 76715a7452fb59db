package guard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fromReader is a connection on which a reader's bytes come.
type fromReader struct {
	net.Conn
	io.Reader
	closed bool
}

func (f *fromReader) Read(b []byte) (int, error) { return f.Reader.Read(b) }
func (f *fromReader) Close() error               { f.closed = true; return nil }

// small are limits that short answers break.
func small() Limits {
	return Limits{Line: 300, Bulk: 1000, Elements: 100, Depth: 5, Answer: 3000, Subscribed: true}
}

// through is what a client reads if the server sends a text, in the pieces that
// a reader makes of it.
func through(t testing.TB, sent string, pieces func(io.Reader) io.Reader, buffer int, limits Limits, passwords ...string) (string, *Violation) {
	t.Helper()
	conn := &fromReader{Reader: pieces(strings.NewReader(sent))}
	var got bytes.Buffer
	guarded := Wrap(conn, limits, NewSecrets(passwords...))
	b := make([]byte, buffer)
	for {
		n, err := guarded.Read(b)
		got.Write(b[:n])
		if err == nil {
			continue
		}
		var fault *Violation
		if errors.As(err, &fault) {
			assert.True(t, conn.closed, "the connection is closed")
			_, again := guarded.Read(b)
			assert.Equal(t, err, again, "and its error stays")
			return got.String(), fault
		}
		require.ErrorIs(t, err, io.EOF)
		return got.String(), nil
	}
}

// inPieces has every way in which the tests cut what is sent.
func inPieces(t *testing.T, sent string, limits Limits, check func(t *testing.T, got string, fault *Violation), passwords ...string) {
	t.Helper()
	for name, pieces := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader, "by halves": iotest.HalfReader,
		"with the end": iotest.DataErrReader,
	} {
		for _, buffer := range []int{1, 7, 64, 1 << 16} {
			t.Run(fmt.Sprintf("%.30q %s into %d", sent, name, buffer), func(t *testing.T) {
				got, fault := through(t, sent, pieces, buffer, limits, passwords...)
				check(t, got, fault)
			})
		}
	}
}

// Every type of RESP2 and RESP3, one after another.
const honest = "+OK\r\n+\r\n:1\r\n:-12\r\n:+3\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n$1\r\na\r\n:5\r\n" +
	"-ERR wrong\r\n-\r\n_\r\n#t\r\n#f\r\n,1.5e-7\r\n,inf\r\n,-inf\r\n,nan\r\n(123456789012345678901234567890\r\n" +
	"!9\r\nERR wrong\r\n!-1\r\n!0\r\n\r\n=8\r\ntxt:text\r\n%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n-ERR in a list\r\n%0\r\n~2\r\n:1\r\n:2\r\n" +
	"|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n|0\r\n:1\r\n*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n:1\r\n:2\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\n\r\n\r\n\r\n" +
	"$?\r\n;4\r\nhell\r\n;1\r\no\r\n;0\r\n*?\r\n:1\r\n$?\r\n;1\r\nx\r\n;0\r\n*?\r\n.\r\n.\r\n%?\r\n+a\r\n:1\r\n.\r\n~?\r\n.\r\n|?\r\n+a\r\n:1\r\n.\r\n:1\r\n" +
	"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n+a line\rwith a return\r\n$3\r\n*9\r\r\n"

func TestHonestAnswersPass(t *testing.T) {
	inPieces(t, honest, small(), func(t *testing.T, got string, fault *Violation) {
		assert.Nil(t, fault)
		assert.Equal(t, honest, got)
	})
	inPieces(t, strings.Repeat(honest, 200), small(), func(t *testing.T, got string, fault *Violation) {
		assert.Nil(t, fault, "an answer's limits hold for one answer")
		assert.Len(t, got, len(honest)*200)
	})
}

// What a server must not send, what is read before the error, and the error.
func TestViolations(t *testing.T) {
	long := strings.Repeat("x", 302)
	for sent, want := range map[string]struct {
		before, sent string
	}{
		"+OK\r\n+" + long:                      {"+OK\r\n", "a line of more than 300 bytes"},
		":" + strings.Repeat("1", 301):         {"", "a line of more than 300 bytes"},
		"-ERR " + long:                         {"", "an error of more than 300 bytes"},
		"!301\r\n":                             {"", "an error of more than 300 bytes"},
		"!x\r\n":                               {"", "an error whose length is no number"},
		"!-2\r\n":                              {"", "an error whose length is no number"},
		":1\r\n$1001\r\n":                      {":1\r\n", "a string of 1001 bytes"},
		"=1001\r\n":                            {"", "a string of 1001 bytes"},
		"$99999999999999999\r\n":               {"", "a string of 9999999999999… bytes"},
		"$" + strings.Repeat("0", 30):          {"", "a length after '$' that is no number"},
		"*101\r\n":                             {"", "a list or map of 101 elements"},
		"*1000000000\r\n":                      {"", "a list or map of 1000000000 elements"},
		"%51\r\n":                              {"", "a list or map of 51 elements"},
		"~101\r\n":                             {"", "a list or map of 101 elements"},
		">101\r\n":                             {"", "a list or map of 101 elements"},
		"|51\r\n":                              {"", "a list or map of 51 elements"},
		"*2\r\n*50\r\n*50\r\n":                 {"*2\r\n*50\r\n", "a list or map of 50 elements"},
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n": {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "lists in lists, 6 deep"},
		"*2\r\n*50\r\n*50\r\n$1\r\na\r\n":      {"*2\r\n*50\r\n", "a list or map of 50 elements"},
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n$1\r\na\r\n": {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "lists in lists, 6 deep"},
		"|1\r\n|1\r\n|1\r\n|1\r\n|1\r\n|1\r\n":            {"|1\r\n|1\r\n|1\r\n|1\r\n|1\r\n", "lists in lists, 6 deep"},
		strings.Repeat("|1\r\n+a\r\n+b\r\n", 60):          {strings.Repeat("|1\r\n+a\r\n+b\r\n", 50), "a list or map of 1 elements"},
		strings.Repeat("|0\r\n", 1000):                    {strings.Repeat("|0\r\n", 751), "an answer of more than 3000 bytes (3004 at least)"},
		"*4\r\n" + strings.Repeat("$900\r\n"+strings.Repeat("y", 900)+"\r\n", 4): {
			"*4\r\n" + strings.Repeat("$900\r\n"+strings.Repeat("y", 900)+"\r\n", 3), "an answer of more than 3000 bytes (3636 at least)"},
		"*?\r\n" + strings.Repeat(":1\r\n", 200):                     {"*?\r\n" + strings.Repeat(":1\r\n", 101), "a list or map of 101… elements"},
		"$?\r\n;900\r\n" + strings.Repeat("z", 900) + "\r\n;900\r\n": {"$?\r\n;900\r\n" + strings.Repeat("z", 900) + "\r\n", "a string of 1800 bytes"},
		"$?\r\n:1\r\n":                 {"$?\r\n", "':' in the wrong place"},
		"$?\r\n-E\r\n":                 {"$?\r\n", "an answer that begins with '-'"},
		";1\r\nx\r\n":                  {"", "';' in the wrong place"},
		".\r\n":                        {"", "the end of a list"},
		"*1\r\n.\r\n":                  {"*1\r\n", "the end of a list"},
		"$-2\r\n":                      {"", "a length after '$' that is no number"},
		"*\r\n":                        {"", "a length after '*' that is no number"},
		"*1x\r\n":                      {"", "a length after '*' that is no number"},
		"*+1\r\n":                      {"", "a length after '*' that is no number"},
		"$1\n":                         {"", "a length after '$' that is no number"},
		"+OK\n":                        {"", "a line with a line feed in it"},
		"-ERR\n":                       {"", "a line with a line feed in it"},
		":secret\r\n":                  {"", "an answer of kind ':' that is none"},
		"#x\r\n":                       {"", "an answer of kind '#' that is none"},
		"_x\r\n":                       {"", "an answer of kind '_' that is none"},
		"HTTP/1.1 400 Bad Request\r\n": {"", "an answer that begins with 'H', as those of HTTP do"},
		"\x15\x03\x03\x00\x02":         {"", "an alert of TLS"},
		"+OK\r\nHello":                 {"+OK\r\n", "an answer that begins with 'H'"},
		"\r\n":                         {"", `an answer that begins with '\r'`},
	} {
		inPieces(t, sent, small(), func(t *testing.T, got string, fault *Violation) {
			require.NotNil(t, fault)
			assert.Equal(t, want.sent, fault.Sent)
			assert.NotEmpty(t, fault.Expected)
			assert.True(t, strings.HasPrefix(got, want.before), "what came before is read: %q", got)
			assert.True(t, strings.HasPrefix(sent, got), "nothing is changed: %q", got)
			bad := got[len(want.before):]
			assert.NotContains(t, bad, "\n", "the line that is bad does not end: a client that waits for the end makes no room")
		})
	}
}

// Messages are not one endless answer, but on a connection without subscriptions
// pushes without an answer are.
func TestPushes(t *testing.T) {
	limits, pushes := small(), strings.Repeat(">1\r\n+invalidate\r\n", 300)
	_, fault := through(t, pushes, iotest.HalfReader, 100, limits)
	assert.Nil(t, fault)
	limits.Subscribed = false
	_, fault = through(t, pushes, iotest.HalfReader, 100, limits)
	require.NotNil(t, fault)
	assert.Equal(t, "a list or map of 1 elements", fault.Sent)
	_, fault = through(t, strings.Repeat(">1\r\n+invalidate\r\n:1\r\n", 300), iotest.HalfReader, 100, limits)
	assert.Nil(t, fault)
}

// An error that is cut in two is whole before any of it is read.
func TestErrorsAreEdited(t *testing.T) {
	const password = "s3cr\"et\nword"
	for sent, want := range map[string]string{
		"-ERR unknown command 'AUTH', with args beginning with: 'joe' 's3cr' \r\n": "-ERR unknown command 'AUTH'\r\n",
		"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`,\r\n": "-ERR unknown command `HELLO`\r\n",
		"!34\r\nERR bad \"s3cr\\\"et\\nword\" given, ok\r\n":                       "!28\r\nERR bad \"[secret]\" given, ok\r\n",
		"-ERR I got s3cr\"et word from you\r\n":                                    "-ERR I got [secret] from you\r\n",
		"*2\r\n-ERR s3cr\"et word\r\n$4\r\nleft\r\n":                               "*2\r\n-ERR [secret]\r\n$4\r\nleft\r\n",
		"-ERR s3cr\"et word\r\n-ERR s3cr\"et word\r\n+s3cr\r\n":                    "-ERR [secret]\r\n-ERR [secret]\r\n+s3cr\r\n",
		"$12\r\n-ERR unknown\r\n-s3cr\"et word\r\n":                                "$12\r\n-ERR unknown\r\n-[secret]\r\n",
		"-MOVED 12 127.0.0.1:7001\r\n-WRONGTYPE Operation against a key\r\n":       "-MOVED 12 127.0.0.1:7001\r\n-WRONGTYPE Operation against a key\r\n",
	} {
		inPieces(t, sent, small(), func(t *testing.T, got string, fault *Violation) {
			assert.Nil(t, fault)
			assert.Equal(t, want, got)
		}, password)
	}
}
