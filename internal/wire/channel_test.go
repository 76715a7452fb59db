package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParseChannel takes channels apart and puts them together again.
func FuzzParseChannel(f *testing.F) {
	for _, s := range [][4]string{
		{"trac.test.ticket.created", "trac", "ticket", "1"},
		{"trac.test.ticket.changed.17", "trac", "ticket", "17"},
		{"trac.test.wiki.changed.x.wiki.created", "trac", "wiki", "x.wiki.created"},
		{"trac.wiki.wiki.created", "trac", "wiki", "created"},
		{"a.b.my.env.wiki.deleted", "a.b", "wiki", "P"},
		{"ünï.wiki.changed.a\r\nPUBLISH x y\r\n", "", "wiki", "a\r\nPUBLISH x y\r\n"},
		{"trac.....ticket.created", "trac", "ticket", ""},
		{"ticket.created", "", "ticket", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, name, prefix, realm, id string) {
		c, ok := ParseChannel(name, prefix, realm, id)
		if !ok {
			return
		}
		require.Equal(t, name, c.String(), "a channel that is understood is kept: %+v", c)
		require.Equal(t, realm, c.Realm)
		if HasID(c.Kind) {
			require.True(t, strings.HasSuffix(name, "."+id))
		}
	})
}

// FuzzEnv: the channel of an env that is taken comes apart into that env, whatever the resource
// is called.
func FuzzEnv(f *testing.F) {
	for _, s := range [][3]string{
		{"a", "wiki", "wiki.created"}, {"x.wiki", "wiki", "created"}, {"a.b.c", "ticket", "1"},
		{"changed", "wiki", "wiki.created"}, {"x.changed", "wiki", "wiki.created"}, {"wiki.wiki.wiki", "wiki", "created"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, env, realm, id string) {
		if CheckEnv(env) != nil || realm == "" || strings.Contains(realm, ".") || id == "" || len(realm)+len(id) > 1000 {
			return
		}
		for _, kind := range []string{Created, Changed, Deleted, Renamed} {
			c := Channel{"trac", env, realm, kind, id}
			got, ok := ParseChannel(c.String(), "trac", realm, id)
			require.True(t, ok, "%+v", c)
			require.Equal(t, c, got)
		}
	})
}

func TestEnvs(t *testing.T) {
	for _, env := range []string{"a", "my.env", "a b", "ü", "trac", "changed", "created.x", strings.Repeat("a", 1000), "*", "a..b", "."} {
		assert.NoError(t, CheckEnv(env), env)
	}
	for env, want := range map[string]string{
		"":                        "env of 0 bytes: expected 1 to 1000",
		strings.Repeat("a", 1001): "env of 1001 bytes: expected 1 to 1000",
		"a\xff":                   "expected UTF-8",
		"a\x00":                   "without control characters",
		"x.wiki.changed":          `expected no part after a dot that is the name of a kind, such as "created"`,
	} {
		assert.ErrorContains(t, CheckEnv(env), want)
	}
}

func TestChannels(t *testing.T) {
	for name, c := range map[string]struct {
		prefix string
		want   Channel
	}{
		"trac.test.ticket.created":              {"trac", Channel{"trac", "test", "ticket", "created", "1"}},
		"trac.my.env.ticket.changed.1":          {"trac", Channel{"trac", "my.env", "ticket", "changed", "1"}},
		"my.prefix.test.ticket.deleted":         {"my.prefix", Channel{"my.prefix", "test", "ticket", "deleted", "1"}},
		"other.test.ticket.deleted":             {"trac", Channel{"", "other.test", "ticket", "deleted", "1"}},
		"test.ticket.created":                   {"", Channel{"", "test", "ticket", "created", "1"}},
		"trac..ticket.created":                  {"trac", Channel{"", "trac.", "ticket", "created", "1"}},
		"trac.test.wiki.changed.x.wiki.created": {"trac", Channel{"trac", "test", "wiki", "changed", "x.wiki.created"}},
		"trac.wiki.wiki.created":                {"trac", Channel{"trac", "wiki", "wiki", "created", "created"}},
		"trac.a.wiki.wiki.deleted":              {"trac", Channel{"trac", "a.wiki", "wiki", "deleted", "deleted"}},
		"trac.test.wiki.exploded.P":             {"trac", Channel{"trac", "test", "wiki", "exploded", "P"}},
	} {
		got, ok := ParseChannel(name, c.prefix, c.want.Realm, c.want.ID)
		assert.True(t, ok, name)
		assert.Equal(t, c.want, got, name)
		assert.Equal(t, name, got.String())
	}
	for _, name := range []string{"", "ticket", "ticket.created", "trac.test.ticket.created.1", "trac.test.ticket.changed.2", "trac.test.wiki.created", ".ticket.created", ".ticket.changed.1"} {
		_, ok := ParseChannel(name, "trac", "ticket", "1")
		assert.False(t, ok, name)
	}
}
