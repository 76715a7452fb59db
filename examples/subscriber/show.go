package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// show prints an entry, or the error that stands for one that is no event. Its own
// error is that of the output. What was published on a channel has no ID.
type show func(entry tracbus.StreamEntry, err error) error

// showJSON prints one line for each message, in which each character that could command
// a terminal is escaped.
func showJSON(w io.Writer) show {
	return func(entry tracbus.StreamEntry, err error) error {
		channel, payload := entry.Channel, entry.Payload
		if entry.ID == "" {
			channel, payload, err = messageOf(entry.Event, err)
		}
		line := struct {
			ID      string `json:"id,omitempty"`
			Channel string `json:"channel"`
			Payload any    `json:"payload"`
			Error   string `json:"error,omitempty"`
		}{ID: entry.ID, Channel: channel, Payload: payload}
		if json.Valid([]byte(payload)) && utf8.ValidString(payload) {
			line.Payload = json.RawMessage(payload)
		}
		if err != nil {
			line.Error = err.Error()
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(line); err != nil {
			return err
		}
		_, err = w.Write(plain.JSON(text.Bytes()))
		return err
	}
}

// messageOf returns the message that became an event, or an error.
func messageOf(event tracbus.Event, err error) (channel, payload string, _ error) {
	var undecoded *tracbus.DecodeError
	if errors.As(err, &undecoded) {
		return undecoded.Channel, undecoded.Payload, err
	}
	changed, _ := event.(tracbus.TicketChanged)
	c := tracbus.PublisherConfig{NoPrefix: true, FullNewValues: changed.Values != nil}
	return c.Encode(event)
}

// colourful says whether a file is a terminal whose user likes colours.
func colourful(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// showText prints events for people.
func showText(w io.Writer, colours bool) show {
	paint := func(colour, text string) string {
		if !colours {
			return text
		}
		return "\x1b[" + colour + "m" + text + "\x1b[0m"
	}
	return func(entry tracbus.StreamEntry, err error) error {
		id, event := "", entry.Event
		if entry.ID != "" {
			id = paint(faint, plain.Word(entry.ID)) + "  "
		}
		var undecoded *tracbus.DecodeError
		if errors.As(err, &undecoded) {
			_, err := fmt.Fprintf(w, "%s%s\n    %s\n", id, paint(red, plain.Word(undecoded.Error())), plain.Quote(undecoded.Payload))
			return err
		}
		about, colour := event.About(), yellow
		switch event.Kind() {
		case tracbus.KindCreated:
			colour = green
		case tracbus.KindDeleted:
			colour = red
		}
		var text strings.Builder
		fmt.Fprintf(&text, "%s%s  %s  %s", id, paint(faint, plain.Word(about.Env)),
			paint(bold, plain.Word(event.Resource().String())), paint(colour, plain.Word(string(event.Kind()))))
		if about.Author != "" {
			fmt.Fprintf(&text, "  by %s", plain.Word(about.Author))
		}
		if about.Comment != "" {
			fmt.Fprintf(&text, "  %s", plain.Quote(about.Comment))
		}
		for _, detail := range details(event) {
			fmt.Fprintf(&text, "\n    %s", detail)
		}
		_, err = fmt.Fprintln(w, text.String())
		return err
	}
}

// details are what one kind of event tells beside what all of them do.
func details(event tracbus.Event) []string {
	switch e := event.(type) {
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
	return nil
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
	}
	return fmt.Sprint(v)
}
