package cost_test

import (
	"testing"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/pages"
	"github.com/tracbus/tracbus/trac/realms"
)

// FuzzCost looks for a short text that costs much: what it finds belongs into worst.
func FuzzCost(f *testing.F) {
	for _, text := range []string{
		"----\na http://h/$1$2 # $1\n", "{{{\n(?i)[a-z]{2,9}\\pL$\n}}}", "{{{\n((a{9}){9}){9}|[^z]{0,99}\n}}}", `{"id": 1, "values": {"a": null}}`,
		"redis://u:p@h:1/2?a=b", "a/b/../c", `{"pagename": "\u00e9", "text": ""}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, call := range map[string]func(){
			"CheckInterMap":    func() { _ = pages.CheckInterMap(text) },
			"CheckBadContent":  func() { _ = pages.CheckBadContent("{{{\n" + text + "\n}}}") },
			"Decode, ticket":   func() { _, _ = tracbus.Decode("trac", "trac.e.ticket.changed", text) },
			"Decode, wiki":     func() { _, _ = realms.Decode("trac", "trac.e.wiki.created", text) },
			"Decode, channel":  func() { _, _ = realms.Decode("trac", text, "{}") },
			"ParseRedisURL":    url(text),
			"ValidatePageName": func() { _ = tracbus.ValidatePageName(text) },
			"ParseAttachmentID": func() {
				_, _, _ = realms.ParseAttachmentID(text)
			},
		} {
			if cost, most := measure(call), uint64(1<<20+512*len(text)); cost > most {
				t.Errorf("%s of %q: %d bytes, expected %d at most", name, text, cost, most)
			}
		}
	})
}
