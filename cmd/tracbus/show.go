package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/internal/plain"
)

// item is what tail and history show: a change, a gap, or a message that is no event.
type item struct {
	entry            string // its id in a stream
	event            tracbus.Event
	channel, payload string // the message, if there was one
	err              error  // why there is no event
}

// shower prints items.
type shower struct {
	t         *terminal
	json      bool
	colours   bool
	publisher tracbus.PublisherConfig // makes the message of an event that has none
	received  bool                    // events were messages, and become the same again
}

// complete makes the message of an event.
func (s shower) complete(i item) item {
	if i.channel == "" && i.event != nil {
		if _, gap := i.event.(tracbus.Resync); !gap {
			if changed, ok := i.event.(tracbus.TicketChanged); ok && s.received {
				s.publisher.FullNewValues = changed.Values != nil
			}
			if channel, payload, err := s.publisher.Encode(i.event); err == nil { // else it is of a kind that has no message
				i.channel, i.payload = channel, payload
			}
		}
	}
	return i
}

func (s shower) show(i item) error {
	i = s.complete(i)
	if s.json {
		return s.t.printJSON(lineOf(i))
	}
	_, err := fmt.Fprintln(s.t.out, s.text(i))
	return err
}

// eventLine is an item as JSON. What is not known is left out.
type eventLine struct {
	Entry         string     `json:"entry,omitempty"`
	TID           int64      `json:"tid,omitempty"`
	Seq           *int       `json:"seq,omitempty"`
	CommitID      string     `json:"commit_id,omitempty"`
	Time          *time.Time `json:"time,omitempty"`
	Env           string     `json:"env,omitempty"`
	Realm         string     `json:"realm,omitempty"`
	ID            string     `json:"id,omitempty"`
	Kind          string     `json:"kind,omitempty"`
	Author        *string    `json:"author,omitempty"`
	IPNR          string     `json:"ipnr,omitempty"`
	Authenticated *bool      `json:"authenticated,omitempty"`
	Comment       *string    `json:"comment,omitempty"`
	Channel       string     `json:"channel,omitempty"`
	Payload       any        `json:"payload,omitempty"`

	Gap     string `json:"gap,omitempty"` // why changes may have been missed here
	After   int64  `json:"after,omitempty"`
	Through int64  `json:"through,omitempty"`
	Error   string `json:"error,omitempty"`
}

func lineOf(i item) eventLine {
	l := eventLine{Entry: i.entry, Channel: i.channel}
	if i.payload != "" {
		l.Payload = i.payload
		if json.Valid([]byte(i.payload)) && utf8.ValidString(i.payload) {
			l.Payload = json.RawMessage(i.payload)
		}
	}
	if i.err != nil {
		l.Error = i.err.Error()
	}
	if i.event == nil {
		return l
	}
	c := i.event.About()
	if gap, ok := i.event.(tracbus.Resync); ok {
		l.Gap, l.After, l.Through, l.Time = string(gap.Reason), gap.After, gap.Through, timeOrNil(c.Time)
		if gap.Err != nil {
			l.Error = gap.Err.Error()
		}
		return l
	}
	unknown := c.Absent | c.Null
	l.Env, l.Realm, l.ID, l.Kind = c.Env, string(i.event.Resource().Realm), i.event.Resource().ID, string(i.event.Kind())
	l.Time = timeOrNil(c.Time)
	if c.TID > 0 {
		l.TID, l.Seq, l.CommitID = c.TID, &c.Seq, c.CommitID
	}
	if c.Absent&(tracbus.AttrOrigin|tracbus.AttrAddress) == 0 {
		l.IPNR, l.Authenticated = c.IPNR, &c.Authenticated
	}
	if author, known := authorOf(i.event); known {
		l.Author = &author
	}
	if !unknown.Has(tracbus.AttrComment) {
		l.Comment = &c.Comment
	}
	return l
}

// authorOf is who made a change, if that is known. A message of a page has only who wrote its
// version: not who deleted that, or changed its comment.
func authorOf(e tracbus.Event) (author string, known bool) {
	c := e.About()
	switch {
	case c.Absent.Has(tracbus.AttrActor):
		return "", false
	case c.Author != "":
		return c.Author, true
	case (c.Absent | c.Null).Has(tracbus.AttrAuthor):
		return "", false
	case !c.Absent.Has(tracbus.AttrOrigin) || e.Resource().Realm != tracbus.RealmWiki:
		return "", true
	}
	switch e := e.(type) {
	case tracbus.WikiPageCreated:
		return e.Page.Author, true
	case tracbus.WikiPageChanged:
		return e.Page.Author, true
	}
	return "", false
}

const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s shower) paint(colour, text string) string {
	if !s.colours || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// colourful says whether a writer is a terminal whose user likes colours.
func colourful(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// text is an item for people: a line, and details below it.
func (s shower) text(i item) string {
	if i.event == nil {
		what := ""
		if bad, ok := errors.AsType[*tracbus.DecodeError](i.err); ok {
			what = "\n    " + plain.Quote(bad.Payload)
		}
		return s.paint(red, plain.Word(i.err.Error())) + what
	}
	c := i.event.About()
	if gap, ok := i.event.(tracbus.Resync); ok {
		return s.paint(yellow, "-- "+gapText(gap))
	}
	var words []string
	add := func(colour, word string) {
		if word != "" {
			words = append(words, s.paint(colour, word))
		}
	}
	add(faint, i.entry)
	if !c.Time.IsZero() {
		add(faint, c.Time.Local().Format(time.DateTime))
	}
	if c.TID > 0 && i.entry == "" {
		add(faint, fmt.Sprintf("%d.%d", c.TID, c.Seq))
	}
	add(faint, plain.Word(c.Env))
	add(bold, plain.Word(i.event.Resource().String()))
	colour := yellow
	switch i.event.Kind() {
	case tracbus.KindCreated:
		colour = green
	case tracbus.KindDeleted:
		colour = red
	}
	add(colour, plain.Word(string(i.event.Kind())))
	if author, _ := authorOf(i.event); author != "" {
		add("", "by "+plain.Word(author))
	}
	if c.Comment != "" {
		add("", plain.Quote(c.Comment))
	}
	lines := append([]string{strings.Join(words, "  ")}, details(i)...)
	return strings.Join(lines, "\n    ")
}

// gapText says what was missed.
func gapText(gap tracbus.Resync) string {
	switch gap.Reason {
	case tracbus.ResyncSubscribed:
		return "from here on nothing is missed"
	case tracbus.ResyncReconnected:
		return "connected again; what was published meanwhile is missed"
	case tracbus.ResyncStreamTrimmed:
		return fmt.Sprintf("changes after tid %d up to %d are missed: the stream does not keep them", gap.After, gap.Through)
	case tracbus.ResyncStreamReset:
		return fmt.Sprintf("the stream began again; what came after tid %d may be missed or come again", gap.After)
	case tracbus.ResyncPruned:
		return fmt.Sprintf("changes after tid %d up to %d are missed: they are pruned", gap.After, gap.Through)
	case tracbus.ResyncRewound:
		return "the database was put back; changes may be missed or come again"
	}
	return "changes may be missed: " + plain.Word(string(gap.Reason))
}

// details are what one kind of event tells beside what all of them do.
func details(i item) []string {
	switch e := i.event.(type) {
	case tracbus.TicketCreated:
		return values(e.Values)
	case tracbus.TicketChanged:
		return difference(e.Old, e.New)
	case tracbus.TicketDeleted:
		return values(e.Values)
	case tracbus.TicketCommentEdited:
		return []string{"comment before: " + plain.Quote(e.OldComment)}
	case tracbus.TicketChangeDeleted:
		return append([]string{"change of " + e.ChangeTime.Format(time.DateTime)}, difference(e.Old, e.New)...)
	case tracbus.WikiPageCreated:
		return page(e.Page)
	case tracbus.WikiPageChanged:
		return append(page(e.Page), "text before: "+plain.Quote(e.OldText))
	case tracbus.WikiPageDeleted:
		return page(e.Page)
	case tracbus.WikiPageRenamed:
		return append(page(e.Page), "name before: "+plain.Quote(e.OldName))
	case tracbus.WikiPageVersionDeleted:
		return page(e.Page)
	case tracbus.WikiPageCommentEdited:
		return append(page(e.Page), "comment before: "+plain.Quote(e.OldComment))
	}
	return fields(i.payload)
}

// fields are those of a message, for kinds that this program knows by their message only.
func fields(payload string) (lines []string) {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(payload), &all) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var text string
		shown := plain.Word(string(all[name]))
		if json.Unmarshal(all[name], &text) == nil {
			shown = plain.Quote(text)
		}
		lines = append(lines, plain.Word(name)+": "+shown)
	}
	return lines
}

func page(p tracbus.WikiPage) []string {
	version := "version " + strconv.FormatInt(p.Version, 10)
	if !p.Time.IsZero() {
		version += " of " + p.Time.Format(time.DateTime)
	}
	if p.Readonly {
		version += ", read-only"
	}
	return []string{version, "text: " + plain.Quote(p.Text)}
}

// values leaves out empty fields, of which a ticket has many.
func values(f tracbus.Fields) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if v := f[name]; v != nil && v != "" {
			lines = append(lines, plain.Word(name)+": "+value(v))
		}
	}
	return lines
}

func difference(before, after tracbus.Fields) (lines []string) {
	both := maps.Clone(after)
	if both == nil {
		both = tracbus.Fields{}
	}
	maps.Copy(both, before)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		lines = append(lines, plain.Word(name)+": "+value(before[name])+" → "+value(after[name]))
	}
	return lines
}

func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return plain.Quote(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	}
	return plain.Word(fmt.Sprint(v))
}
