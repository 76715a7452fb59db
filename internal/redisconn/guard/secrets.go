package guard

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// hidden stands where a secret was.
const hidden = "[secret]"

// Secrets are texts that no error may hold.
type Secrets []string

// NewSecrets returns the secrets that passwords are, in every form in which a
// server or a library may print them. Empty ones are none.
func NewSecrets(passwords ...string) Secrets {
	var s Secrets
	for _, p := range passwords {
		if p == "" {
			continue
		}
		quoted := strconv.Quote(p)
		escaped, _ := json.Marshal(p)
		s = append(s, p, quoted[1:len(quoted)-1], string(escaped[1:len(escaped)-1]), redisQuoted(p),
			url.QueryEscape(p), url.PathEscape(p), url.UserPassword("", p).String()[1:],
			strings.NewReplacer("\r", " ", "\n", " ").Replace(p), // as Redis does in a line
			strings.ToUpper(p), strings.ToLower(p),
		)
	}
	slices.SortFunc(s, func(a, b string) int { // the longest first: one may be in another
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(s)
}

// redisQuoted is a text as Redis prints it in its log and in some errors.
func redisQuoted(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		switch {
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c <= '~':
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\a':
			b.WriteString(`\a`)
		case c == '\b':
			b.WriteString(`\b`)
		default:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(c)+0x100, 16)[1:])
		}
	}
	return b.String()
}

// Hide replaces secrets in a text. One of one to three characters is replaced
// only where it stands between quotation marks: elsewhere it would be found in
// ordinary words.
func (s Secrets) Hide(text string) string {
	for _, secret := range s {
		if !strings.Contains(text, secret) {
			continue
		}
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, hidden)
			continue
		}
		for _, q := range []string{"'", `"`, "`"} {
			text = strings.ReplaceAll(text, q+secret+q, q+hidden+q)
		}
	}
	return text
}

// HideError returns an error whose text has no secret, nor that of the answer of
// Redis which [errors.As] finds in it. It is err itself if that had none.
func (s Secrets) HideError(err error) error {
	if err == nil {
		return nil
	}
	before := err.Error()
	after, outside := before, before
	found := replies(err)
	for _, reply := range found {
		after = strings.ReplaceAll(after, reply.Error(), s.edit(reply.Error()))
		outside = strings.ReplaceAll(outside, reply.Error(), "")
	}
	if s.Hide(outside) != outside {
		after = s.Hide(after)
	}
	if after == before {
		return err
	}
	c := &cleaned{err: err, text: after}
	if len(found) > 0 {
		c.reply = answer(s.edit(found[0].Error()))
	}
	return c
}

// replies returns the answers of Redis in an error: of several servers, if all of them
// were asked. The first is the one that [errors.As] finds.
func replies(err error) (all []redis.Error) {
	if reply, is := err.(redis.Error); is {
		return []redis.Error{reply}
	}
	switch e := err.(type) {
	case *cleaned:
		if e.reply != nil {
			return []redis.Error{e.reply}
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return replies(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if inner != nil {
				all = append(all, replies(inner)...)
			}
		}
	}
	return all
}

// answer is a [redis.Error] without secrets.
type answer string

func (a answer) Error() string { return string(a) }

// RedisError marks it.
func (answer) RedisError() {}

// cleaned is an error with another text. It is a pointer, because fmt prints what
// is in a struct, but not what is behind a pointer in one.
type cleaned struct {
	err   error
	text  string
	reply redis.Error // what the text is of, or nil
}

func (c *cleaned) Error() string { return c.text }

// GoString prints the text for %#v, too.
func (c *cleaned) GoString() string { return strconv.Quote(c.text) }

// Is finds what the error is.
func (c *cleaned) Is(target error) bool { return errors.Is(c.err, target) }

// As finds the answer of Redis without secrets, and everything else as it is.
func (c *cleaned) As(target any) bool {
	if reply, ok := target.(*redis.Error); ok && c.reply != nil {
		*reply = c.reply
		return true
	}
	return errors.As(c.err, target)
}

// editReply returns an answer that is an error, without secrets.
func (s Secrets) editReply(reply []byte) []byte {
	first, body, _ := strings.Cut(string(reply), "\r\n")
	if reply[0] == '-' {
		return []byte("-" + s.edit(first[1:]) + "\r\n")
	}
	text, ok := strings.CutSuffix(body, "\r\n")
	if !ok {
		return reply // a nil
	}
	text = s.edit(text)
	return []byte("!" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n")
}

func (s Secrets) edit(text string) string { return CutArguments(s.hideAnswer(text)) }

// hideAnswer leaves what a client acts upon: the code that an error begins with,
// and the address to which a cluster redirects.
func (s Secrets) hideAnswer(text string) string {
	code, rest, _ := strings.Cut(text, " ")
	switch {
	case code == "MOVED" || code == "ASK":
		if slot, addr, found := strings.Cut(rest, " "); found && isNumber(slot) && !strings.ContainsAny(addr, " '\"`") {
			return text
		}
	case !isCode(code):
		return s.Hide(text)
	}
	return code + s.Hide(text[len(code):])
}

// isCode says whether an error of Redis's own begins so.
func isCode(word string) bool {
	switch word {
	case "ERR", "MOVED", "ASK", "CROSSSLOT", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING", "READONLY", "OOM", "MISCONF",
		"BUSY", "BUSYGROUP", "BUSYKEY", "NOREPLICAS", "NOSCRIPT", "NOAUTH", "NOPERM", "WRONGPASS", "WRONGTYPE", "NOGROUP",
		"NOPROTO", "EXECABORT", "UNKILLABLE", "NOGOODSLAVE", "INPROG", "UNBLOCKED", "DENIED", "NOQUORUM", "IOERR", "NOTBUSY":
		return true
	}
	return false
}

func isNumber(text string) bool {
	_, err := strconv.ParseUint(text, 10, 64)
	return err == nil
}
