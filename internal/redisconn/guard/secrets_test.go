package guard

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
)

func TestCutArguments(t *testing.T) {
	for text, want := range map[string]string{
		"ERR unknown command 'AUTH', with args beginning with: 'joe' 'secret' ": "ERR unknown command 'AUTH'",
		"ERR unknown command `AUTH`, with args beginning with: `secret`, ":      "ERR unknown command `AUTH`",
		"ERR Unknown Command 'AUTH secret'":                                     "ERR Unknown Command 'AUTH " + leftOut,
		"ERR unknown command \"AUTH\" with \"secret\"":                          "ERR unknown command \"AUTH\" " + leftOut,
		"ERR unknown command: AUTH secret":                                      "ERR unknown command: AUTH " + leftOut,
		"ERR unknown command AUTH secret":                                       "ERR unknown command AUTH " + leftOut,
		"ERR wrong number of arguments for AUTH secret":                         "ERR wrong number of arguments for AUTH " + leftOut,
		"ERR wrong number of arguments for 'auth' command: 'secret'":            "ERR wrong number of arguments for 'auth' " + leftOut,
		"ERR wrong number of arguments for ‘auth’ command":                      "ERR wrong number of arguments for ‘auth’ command",
		"ERR wrong number of arguments for 'auth' command":                      "ERR wrong number of arguments for 'auth' command",
		"ERR wrong number of arguments for auth command":                        "ERR wrong number of arguments for auth command",
		"ERR unknown command 'auth'":                                            "ERR unknown command 'auth'",
		"ERR unknown subcommand 'x'. Try CLIENT HELP.":                          "ERR unknown subcommand 'x'. Try CLIENT HELP.",
		"ERR ÄÖ\xff unknown command 'AUTH', with args beginning with: 'secret'": "ERR ÄÖ\xff unknown command 'AUTH'",
		"NOPERM this user has no permissions to run the 'get' command":          "NOPERM this user has no permissions to run the 'get' command",
		"": "",
	} {
		assert.Equal(t, want, CutArguments(text), text)
	}
}

func TestHide(t *testing.T) {
	for _, password := range []string{"a long secret", "pass'w\"ord", "line\nfeed\r", `back\slash`, "äöü€", "a/b?c=d&e", "nul\x00\x01\xff"} {
		s := NewSecrets("", password, "another one")
		for _, form := range []string{
			password, fmt.Sprintf("%q", password), redisQuoted(password), strings.NewReplacer("\r", " ", "\n", " ").Replace(password),
			"redis://joe:" + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(password, "/", "%2F"), "?", "%3F"), "another", "") + "@h",
			strings.ToUpper(password),
		} {
			hid := s.Hide("before " + form + " after another one")
			assert.NotContains(t, hid, password)
			assert.Contains(t, hid, hidden, form)
			assert.True(t, strings.HasPrefix(hid, "before ") && strings.HasSuffix(hid, " after "+hidden), hid)
		}
	}
	assert.Empty(t, NewSecrets("", ""))
	short := NewSecrets("a", "err")
	assert.Equal(t, "an error has happened: '[secret]' and \"[secret]\" and `[secret]`", short.Hide("an error has happened: 'a' and \"err\" and `a`"))
}

// What go-redis acts upon stays, whatever the password is.
func TestCodesStay(t *testing.T) {
	s := NewSecrets("MOVED", "7001", "NOSCRIPT", "LOADING", "another")
	for text, want := range map[string]string{
		"MOVED 12 127.0.0.1:7001":             "MOVED 12 127.0.0.1:7001",
		"ASK 12 another:7001":                 "ASK 12 another:7001",
		"MOVED to 'another' place":            "MOVED to '[secret]' place",
		"NOSCRIPT No matching script.":        "NOSCRIPT No matching script.",
		"LOADING Redis is loading another":    "LOADING Redis is [secret] [secret]",
		"another is not a code, but a secret": "[secret] is not a code, but a secret",
	} {
		assert.Equal(t, want, s.edit(text), text)
	}
}

type replyError string

func (r replyError) Error() string { return string(r) }
func (replyError) RedisError()     {}

func TestHideError(t *testing.T) {
	s := NewSecrets("a long secret")
	assert.NoError(t, s.HideError(nil))
	harmless := errors.New("harmless")
	assert.Same(t, harmless, s.HideError(harmless))

	dial := fmt.Errorf("around a long secret: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("lookup a long secret")})
	hid := s.HideError(dial)
	assert.EqualError(t, hid, "around [secret]: dial tcp: lookup [secret]")
	assert.Equal(t, hid.Error(), fmt.Sprintf("%+v", hid))
	var op *net.OpError
	assert.ErrorAs(t, hid, &op)
	assert.ErrorIs(t, s.HideError(fmt.Errorf("a long secret: %w", redis.ErrClosed)), redis.ErrClosed)

	hid = s.HideError(fmt.Errorf("with a long secret: %w", replyError("NOPERM 'a long secret' is wrong")))
	assert.EqualError(t, hid, "with [secret]: NOPERM '[secret]' is wrong")
	var reply redis.Error
	assert.ErrorAs(t, hid, &reply)
	assert.Equal(t, "NOPERM '[secret]' is wrong", reply.Error())
	assert.True(t, redis.HasErrorPrefix(hid, "NOPERM"))

	// Each of the Sentinels of a client that was lent answers for itself, with a password
	// that is not known.
	quotes := "ERR unknown command 'AUTH', with args beginning with: "
	hid = s.HideError(fmt.Errorf("all of them: %w", errors.Join(replyError("WRONGPASS no"), replyError(quotes+"'one' "), replyError(quotes+"'other' "))))
	assert.EqualError(t, hid, "all of them: WRONGPASS no\nERR unknown command 'AUTH'\nERR unknown command 'AUTH'")
	assert.True(t, redis.HasErrorPrefix(hid, "WRONGPASS"))
	assert.EqualError(t, s.HideError(fmt.Errorf("again: %w", hid)), "again: "+hid.Error())
}
