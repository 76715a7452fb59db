package crash_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/campaign/record"
)

// ticketPayload is what JSON of a message can hold in a crash campaign.
type ticketPayload struct {
	ID       json.Number
	N        int64
	Text     string
	By       string
	Name     string
	Version  int64
	OldText  string      `json:"old_text"`
	New      payloadItem `json:"new_values"`
	Old      payloadItem `json:"old_values"`
	Author   string
	Readonly int
}

type payloadItem struct {
	N    int64
	Text string
}

// readMessage reads a message as a subscriber in another language would: it
// uses nothing of the library.
func readMessage(channel, payload string) (l note, err error) {
	var p ticketPayload
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return l, err
	}
	rest, ok := strings.CutPrefix(channel, "trac.crash.")
	realm, rest, _ := strings.Cut(rest, ".")
	kind, id, hasID := strings.Cut(rest, ".")
	own := p.Name
	if realm == "ticket" {
		own = p.ID.String()
	}
	l.Resource, l.Kind = realm+" "+own, tracbus.Kind(kind)
	if !ok || own == "" || hasID != (l.Kind == tracbus.KindChanged) || hasID && id != own {
		return l, fmt.Errorf("a message of %q on channel %q", own, channel)
	}
	switch realm + " " + kind {
	case "ticket created":
		l.New, l.By = &record.State{N: p.N, Text: p.Text}, p.Text
	case "ticket changed":
		l.Old, l.New, l.By = &record.State{N: p.Old.N, Text: p.Old.Text}, &record.State{N: p.New.N, Text: p.New.Text}, p.New.Text
	case "ticket deleted":
		l.Old, l.By = &record.State{N: p.N, Text: p.Text}, p.By
	case "wiki created":
		l.New, l.By = &record.State{N: p.Version, Text: p.Text}, p.Text
	case "wiki changed":
		l.Old, l.New, l.By = &record.State{N: p.Version - 1, Text: p.OldText}, &record.State{N: p.Version, Text: p.Text}, p.Text
	default:
		return l, fmt.Errorf("a message on channel %q", channel)
	}
	return l, nil
}
