package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// oneLine returns a text as a field of one line has it: without space around it, and
// with one space for line ends and tabs. Trac does so with the names of milestones and
// the like; in its other fields it keeps them.
func oneLine(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return breaks(r) })
	return strings.TrimSpace(strings.Join(words, " "))
}

// breaks says whether a character ends a line, or stands for a tab.
func breaks(r rune) bool {
	return '\t' <= r && r <= '\r' || strings.ContainsRune("\u0085\u2028\u2029", r)
}

// hidden says whether a character is shown as nothing, or changes how those beside it
// are shown: with one, a text can look like another. Joiners and marks are none of them:
// Persian, Hindi, Hebrew and emoji are not written without.
func hidden(r rune) bool {
	return !strings.ContainsRune("\u200c\u200d\u200e\u200f\u061c", r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

// unseen says whether a character of a name is shown as nothing: a name with one looks like
// the same without it, and needs none.
func unseen(r rune) bool {
	return hidden(r) || r == '\u2800' || // the empty pattern of Braille
		unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// checkLine refuses a field of one line that cannot be shown as what it is. Those that name
// a page or somebody also have nothing unseen.
func checkLine(field, text string) error {
	refused := hidden
	if slices.Contains([]string{"name", "owner", "cc"}, field) {
		refused = unseen
	}
	if i := strings.IndexFunc(text, refused); i >= 0 {
		return refusal{http.StatusUnprocessableEntity, fmt.Sprintf("The field %q has a character that nobody can see, %U: leave it out. Nothing was stored.", field, []rune(text[i:])[0])}
	}
	return nil
}

// shownLine returns a text as it is shown on one line. What other programs stored may
// have characters that checkLine refuses: they show as "�", and change nothing.
func shownLine(text string) string {
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return unicode.ReplacementChar
		}
		return r
	}, oneLine(text))
}
