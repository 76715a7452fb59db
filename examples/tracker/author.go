package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/secure/precis"

	"github.com/tracbus/tracbus"
)

// anonymous is who does not say who they are.
const anonymous = "anonymous"

// errNoName says that a text is no name of anybody.
var errNoName = errors.New("expected words of letters and digits of one script, up to 100 bytes, without commas, semicolons and angle brackets")

// person is a name: as it is shown, and what all names have in common that people
// would take for it. Accounts go by the second.
type person struct{ shown, key string }

// personOf reads a name. Each of its words is one that RFC 8265 allows as the name of a
// user: it has no invisible characters, and neither its case nor its width make it
// another. Letters of several scripts are not mixed; the RFC leaves out what
// looks alike within one script, as l and 1, or a whole word of Cyrillic letters.
func personOf(text string) (person, error) {
	if len(text) > 400 { // which could be no name, and is not looked at
		return person{}, errNoName
	}
	var shown, key []string
	for word := range strings.FieldsSeq(text) {
		s, err := precis.UsernameCasePreserved.String(word)
		if err != nil {
			return person{}, errNoName
		}
		k, err := precis.UsernameCaseMapped.CompareKey(word)
		if err != nil {
			return person{}, errNoName
		}
		shown, key = append(shown, s), append(key, k)
	}
	p := person{strings.Join(shown, " "), strings.Join(key, " ")}
	if p.key == "" || max(len(p.shown), len(p.key)) > 100 || strings.ContainsAny(p.key, ",;<>") || strings.ContainsFunc(p.key, unseen) || mixed(p.key) {
		return person{}, errNoName
	}
	return p, nil
}

// mixed says whether a name has letters of several scripts that are not written together:
// it is what UTS 39 calls highly restrictive. A dot above i or j is one that nobody sees.
func mixed(name string) bool {
	scripts := map[string]bool{}
	var before rune
	for _, r := range name {
		if r == '\u0307' && (before == 'i' || before == 'j') {
			return true
		}
		before = r
		scripts[scriptOf(r)] = true
	}
	together := [][]string{ // as Japanese, Chinese and Korean are
		{"Latin", "Han", "Hiragana", "Katakana"}, {"Latin", "Han", "Bopomofo"}, {"Latin", "Han", "Hangul"},
	}
	delete(scripts, "Common")
	delete(scripts, "Inherited")
	return len(scripts) > 1 && !slices.ContainsFunc(together, func(t []string) bool {
		for script := range scripts {
			if !slices.Contains(t, script) {
				return false
			}
		}
		return true
	})
}

// scriptOf returns the script of a character, "" if it is in none.
func scriptOf(r rune) string {
	for script, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return script
		}
	}
	return ""
}

// reserved says whether a name is one of the tracker's or Trac's own: nobody has it.
func reserved(p person) bool {
	return slices.Contains([]string{
		anonymous, "tracker", "trac", "authenticated", "admin", "administrator", "operator", "root", "system", "nobody", "everybody",
	}, p.key)
}

// author returns who makes the changes of a request. Who is not signed in goes by the
// name that they say, unless it is, or looks like, somebody else's.
func (s *site) author(r *http.Request) (tracbus.Actor, error) {
	who := tracbus.Actor{Author: visitorOf(r).Name, IPNR: visitorOf(r).address.String(), Authenticated: true}
	if who.Author != "" {
		return who, nil
	}
	who.Author, who.Authenticated = anonymous, false
	given := oneLine(r.PostFormValue("author"))
	if given == "" {
		return who, nil
	}
	p, err := personOf(given)
	if err != nil {
		return who, refusal{http.StatusUnprocessableEntity, fmt.Sprintf("%.100q is no name: %v. Nothing was stored.", given, err)}
	}
	if p.key == anonymous {
		return who, nil
	}
	theirs := reserved(p) || slices.Contains(s.operators, p.key)
	if !theirs {
		known, err := s.passwordOf(r.Context(), p.key)
		if err != nil {
			return who, err
		}
		theirs = known != nil
	}
	if theirs {
		return who, refusal{http.StatusForbidden, fmt.Sprintf("%q is somebody's account: sign in, or choose another name. Nothing was stored.", p.shown)}
	}
	who.Author = p.shown
	return who, nil
}

// store makes a change for the visitor, under no name but theirs.
func (s *site) store(r *http.Request, f func(tx *tracbus.ModelTransaction) error) error {
	who, err := s.author(r)
	if err != nil {
		return err
	}
	return s.update(r.Context(), who, f)
}
