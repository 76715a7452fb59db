package main

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
	"github.com/tracbus/tracbus/trac"
)

func TestNames(t *testing.T) {
	for text, want := range map[string]person{
		"ann": {"ann", "ann"}, "Ann": {"Ann", "ann"}, " Ann  SMITH ": {"Ann SMITH", "ann smith"}, "\uff21nn": {"Ann", "ann"},
		"山田 ひろ子": {"山田 ひろ子", "山田 ひろ子"}, "김철수 Kim": {"김철수 Kim", "김철수 kim"}, "Jose\u0301": {"Jos\u00e9", "jos\u00e9"}, "\u212ann" /* a Kelvin sign */ : {"Knn", "knn"}, "ann@example.org": {"ann@example.org", "ann@example.org"}, "Анна": {"Анна", "анна"},
		"山田 太郎": {"山田 太郎", "山田 太郎"}, "דנה": {"דנה", "דנה"}, "O'Brien-9": {"O'Brien-9", "o'brien-9"}, "a\u00a0b": {"a b", "a b"},
	} {
		p, err := personOf(text)
		require.NoError(t, err, "%q", text)
		assert.Equal(t, want, p, "%q", text)
	}
	for _, text := range []string{
		"", " ", "a,b", "a;b", "<a>", "ann\u200b", "\u202enna", "a\u00adnn", "ann\u2060", "ann\ufeff", "a\x1bb", "ann\U000e0061", "a\u034fnn", "\u3164",
		"\u0430nn" /* the first is Cyrillic */, "\u0430 b", "ann\u03bf", "b\u0966b" /* a digit of Devanagari */, "b\u0e50b" /* of Thai */, "\ua4eenn" /* a letter of Lisu */, "admi\u0307n", "\u0915\u094d\u200c\u0937" /* a joiner where the RFC allows it */, "ann\ufe0f", "ann\u2800", "日本 Анна", "ﬁ", "x\u202dy", strings.Repeat("x", 101), strings.Repeat("x ", 1<<20),
	} {
		_, err := personOf(text)
		assert.ErrorIs(t, err, errNoName, "%.20q", text)
	}
}

// A name of a page, or of somebody, does not look like another by a character that nobody sees.
// A summary may have those that some scripts are not written without.
func TestNamesHaveNothingUnseen(t *testing.T) {
	for _, unseen := range []string{
		"\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u061c", "\u034f", "\u115f", "\u17b4", "\u180b", "\u180e", "\u2060", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100", "\U000e01ef",
	} {
		for _, field := range []string{"name", "owner", "cc"} {
			assert.ErrorContains(t, checkLine(field, "a"+unseen+"b"), fmt.Sprintf("%U", []rune(unseen)[0]), field)
		}
		assert.Error(t, checkNewName("Wiki"+unseen+"Start"), "%q", unseen)
		_, err := personOf("a" + unseen + "b")
		assert.ErrorIs(t, err, errNoName, "%q", unseen)
	}
	for _, fine := range []string{"ann", "José", "山田 太郎", "דָּנָה", "हिन्दी", "a, b; c@example.org", "😀"} {
		assert.NoError(t, checkLine("owner", fine))
		assert.NoError(t, checkNewName(fine))
	}
	assert.NoError(t, checkLine("summary", "می\u200cخواهم 👩\u200d💻 ❤\ufe0f \u200fשלום"))
}

// Nobody writes under the name of another, nor under one that looks like it.
func TestNobodyPosesAsAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"), "-operators", "Olga")
	p := r.start()
	ann, other := newClient(t, p), newClient(t, p)
	ann.signIn("Ann")
	as := func(author string) answer {
		return other.send("/tickets/new", "/tickets/new", "summary", "x", "author", author)
	}
	for author, want := range map[string]string{
		"ann": "is somebody's account", "Ann": "is somebody's account", "A\uff2en": "is somebody's account", " ann\r\n": "is somebody's account",
		"tracker": "is somebody's account", "TRACKER": "is somebody's account", "Trac": "is somebody's account", "Admin": "is somebody's account",
		"authenticated": "is somebody's account", "olga": "is somebody's account", "OLGA": "is somebody's account",
		"ann\u200b": "is no name", "\u200bann": "is no name", "ann\u202e": "is no name", "\u0430nn": "is no name", "an\x1bn": "is no name", "tr\u00adacker": "is no name",
	} {
		assert.Contains(t, as(author).problem(), want, "%q", author)
	}
	for _, form := range []struct {
		page, to string
		fields   []string
	}{
		{"/wiki/WikiStart?action=edit", "/wiki/WikiStart", []string{"do", "save", "text", "x", "author", "Ann"}},
		{"/wiki/New?action=edit", "/wiki/New", []string{"do", "save", "text", "x", "author", "tracker"}},
		{"/tickets/new", "/tickets/1", []string{"comment", "x", "author", "ANN"}},
	} {
		assert.Contains(t, other.send(form.page, form.to, form.fields...).problem(), "is somebody's account", form.to)
	}
	for author, want := range map[string]string{"": "anonymous", "Anonymous": "anonymous", "Joe  Doe": "Joe Doe"} {
		a := as(author)
		require.Empty(t, a.problem(), "%q", author)
		assert.Contains(t, a.body, `<bdi class="who">`+want+`</bdi>`)
	}
	for name, want := range map[string]string{
		"ANN": `The name "ann" is taken`, "Ａnn": `The name "ann" is taken`, "Tracker": "is taken", "ann\u200b": "cannot be used", "\u0430nn": "cannot be used",
	} {
		assert.Contains(t, other.send("/account", "/account", "name", name, "password", "long enough", "do", "make").problem(), want, "%q", name)
	}
	require.Equal(t, "/", other.send("/account", "/account", "name", "ANN", "password", "the password of Ann", "do", "sign in").path)
	assert.Contains(t, other.get("/").body, "<bdi>ann</bdi>", "an account has one name")
	olga := newClient(t, p)
	olga.signIn("olga")
	assert.Equal(t, 200, olga.get("/status").status)
}

// No field of one line stores a line end, or what nobody sees.
func TestOneLine(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"))
	c := newClient(t, r.start())
	c.signIn("ann")
	c.ticket("summary", "the first")
	_, db := r.openJournal()
	stored := func(query string, args ...any) (text string) {
		require.NoError(t, db.QueryRowContext(ticking(t), query, args...).Scan(&text))
		return text
	}
	type field struct {
		name   string
		send   func(text string) answer
		stored string // what reads it
	}
	var fields []field
	for _, f := range ticketFields() {
		if f.Long || f.Options != nil {
			continue
		}
		fields = append(fields,
			field{"new " + f.Name, func(text string) answer {
				if f.Name == "summary" {
					return c.send("/tickets/new", "/tickets/new", f.Name, text)
				}
				return c.send("/tickets/new", "/tickets/new", "summary", "x", f.Name, text)
			}, "SELECT " + f.Name + " FROM ticket ORDER BY id DESC"},
			field{f.Name, func(text string) answer { return c.send("/tickets/1", "/tickets/1", f.Name, text) }, "SELECT " + f.Name + " FROM ticket WHERE id = 1"})
	}
	for _, f := range batchFields() {
		if f.Options == nil {
			fields = append(fields, field{"batch " + f.Name, func(text string) answer {
				return c.send("/tickets", "/tickets/batch", "ticket", "1", f.Name, text)
			}, "SELECT " + f.Name + " FROM ticket WHERE id = 1"})
		}
	}
	n := 0
	fields = append(fields,
		field{"comment of a page", func(text string) answer {
			n++
			return c.send("/wiki/WikiStart?action=edit", "/wiki/WikiStart", "do", "save", "text", fmt.Sprint(n), "comment", text)
		}, "SELECT comment FROM wiki WHERE name = 'WikiStart' ORDER BY version DESC"},
		field{"new name of a page", func(text string) answer {
			n++
			c.send(fmt.Sprintf("/wiki/P%d?action=edit", n), fmt.Sprintf("/wiki/P%d", n), "do", "save", "text", "x")
			return c.send(fmt.Sprintf("/wiki/P%d?action=rename", n), fmt.Sprintf("/wiki/P%d", n), "do", "rename", "to", text)
		}, "SELECT name FROM wiki WHERE name = 'b c' OR name LIKE '%b%c%'"},
		field{"why it is renamed", func(text string) answer {
			n++
			c.send(fmt.Sprintf("/wiki/P%d?action=edit", n), fmt.Sprintf("/wiki/P%d", n), "do", "save", "text", "x")
			return c.send(fmt.Sprintf("/wiki/P%d?action=rename", n), fmt.Sprintf("/wiki/P%d", n), "do", "rename", "to", fmt.Sprintf("Q%d", n), "comment", text)
		}, ""},
		field{"why it is deleted", func(text string) answer {
			n++
			c.send(fmt.Sprintf("/wiki/P%d?action=edit", n), fmt.Sprintf("/wiki/P%d", n), "do", "save", "text", "x")
			return c.send(fmt.Sprintf("/wiki/P%d?action=rename", n), fmt.Sprintf("/wiki/P%d", n), "do", "delete", "comment", text)
		}, ""},
	)
	for _, f := range fields {
		a := f.send(" b\r\nc\t")
		require.Empty(t, a.problem(), f.name)
		if f.stored != "" {
			assert.Contains(t, []string{"b c", "b, c"}, stored(f.stored), f.name) // of cc, Trac makes a list
		}
		for _, bad := range []string{"x\x1b]0;y\a", "x\x7f", "x\u009b", "x\u202ey", "x\u2066y", "x\u200by", "x\ufeff", "x\u00ady", "x\U000e0041"} {
			a := f.send(bad)
			assert.Equal(t, 422, a.status, "%s %q", f.name, bad)
			assert.Contains(t, a.problem(), "has a character that nobody can see", "%s %q", f.name, bad)
		}
		if f.stored != "" {
			assert.Contains(t, []string{"b c", "b, c"}, stored(f.stored), f.name) // of cc, Trac makes a list
		}
	}
	for _, bad := range []string{"x\x1b", "x\u202ey", "x\u200by"} {
		path := "/wiki/" + url.PathEscape(bad)
		assert.Contains(t, c.send(path+"?action=edit", path, "do", "save", "text", "x").problem(), "has a character that nobody can see")
		assert.Contains(t, c.send("/wiki", "/wiki", "name", bad).problem(), "has a character that nobody can see")
	}
	c.ticket("summary", "می\u200cخواهم 👩\u200d💻 ❤\ufe0f \u200fשלום") // which nobody can write without
}

// What another program stored is shown so that it moves nothing beside it.
func TestHiddenCharactersOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, testdatabase.New(t, "sqlite"))
	c := newClient(t, r.start())
	c.signIn("ann")
	other, _ := r.openJournal()
	const evil = "x\u202e\u200b\x1by"
	update := func(save func(tx *tracbus.ModelTransaction) error) {
		tid, err := other.Update(ticking(t), tracbus.Actor{Author: evil, IPNR: "192.0.2.1"}, save)
		require.NoError(t, err)
		eventually(t, "the tracker shows it", func() bool { return strings.Contains(c.get("/").body, fmt.Sprintf(`data-place="%d.`, tid)) })
	}
	set := tracbus.Fields{}
	for _, f := range ticketFields() {
		if !f.Long && f.Options == nil {
			set[f.Name] = evil
		}
	}
	update(func(tx *tracbus.ModelTransaction) error {
		return tx.Save(ticking(t), trac.TicketCreate{Set: set})
	})
	update(func(tx *tracbus.ModelTransaction) error {
		return tx.Save(ticking(t), trac.TicketEdit{ID: 1, Set: tracbus.Fields{"milestone": evil + "z"}})
	})
	update(func(tx *tracbus.ModelTransaction) error {
		return tx.Save(ticking(t), trac.PageEdit{Name: evil, Text: new("x"), Base: trac.NoPage})
	})
	page := "/wiki/" + url.PathEscape(evil)
	for _, path := range []string{"/", "/tickets", "/wiki", page, page + "?action=history"} {
		a := c.get(path)
		require.Equal(t, 200, a.status, path)
		text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(a.body, " ")
		assert.Contains(t, text, "x\ufffd\ufffd\ufffdy", path)
		assert.NotContains(t, text, "\u202e", path)
		assert.NotContains(t, text, "\x1b", path)
	}
	outside, _, _ := strings.Cut(c.get("/tickets/1").body, "<h2>Change</h2>") // the form has what is stored
	assert.NotContains(t, outside, "\u202e")
	assert.Contains(t, outside, `<bdi class="who">x`+"\ufffd\ufffd\ufffdy</bdi>")
	assert.Contains(t, outside, "<ins><bdi>x\ufffd\ufffd\ufffdyz</bdi></ins>")
	assert.Equal(t, "/wiki/Plain", c.send(page+"?action=rename", page, "do", "rename", "to", "Plain").path, "it can be mended")
}
