// Package pages keeps values that are derived from wiki pages, up to date in every
// process of a tracker: the [InterMap] and the [BadContent] of Trac, the [Index] of
// the pages that exist, and with [NewValue] whatever an application reads from a
// page of its own. Each is a listener:
//
//	links := pages.NewInterMap(pages.InterMapConfig{})
//	bus.Wiki(tracbus.Everywhere, links)
//	url, title, ok := links.Expand("PEP", "8")
//
// On a bus with a journal, a value is loaded from Trac's table wiki, or from the
// [Source] of an application with tables of its own, before its first event, and
// again whenever an event does not say enough. On a bus without a journal it
// follows the events alone, see [Config].
//
// What the pages mean is as in Trac 1.0 to 1.6 and TracSpamFilter. Each type says
// how it differs.
//
// # Concurrency and errors
//
// Any goroutine may call Get, Err and the methods that ask a value something.
// They never wait, and see a value before a change or after it, never in between.
// The other methods are the bus's, which calls them one at a time. A page that
// cannot be parsed fails no call: the last good value stays, and Err says why.
package pages
