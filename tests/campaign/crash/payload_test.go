package tracbus_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tracbus/tracbus"
)

// crashPayload is what JSON of a message can hold in a crash campaign.
type crashPayload struct {
	ID       json.Number
	N        int64
	Text     string
	By       string
	Name     string
	Version  int64
	OldText  string           `json:"old_text"`
	New      crashPayloadItem `json:"new_values"`
	Old      crashPayloadItem `json:"old_values"`
	Author   string
	Readonly int
}

type crashPayloadItem struct {
	N    int64
	Text string
}

// readCrashMessage reads a message as a subscriber in another language would: it
// uses nothing of the library.
func readCrashMessage(channel, payload string) (l crashLine, err error) {
	var p crashPayload
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
		l.New, l.By = &attackState{p.N, p.Text}, p.Text
	case "ticket changed":
		l.Old, l.New, l.By = &attackState{p.Old.N, p.Old.Text}, &attackState{p.New.N, p.New.Text}, p.New.Text
	case "ticket deleted":
		l.Old, l.By = &attackState{p.N, p.Text}, p.By
	case "wiki created":
		l.New, l.By = &attackState{p.Version, p.Text}, p.Text
	case "wiki changed":
		l.Old, l.New, l.By = &attackState{p.Version - 1, p.OldText}, &attackState{p.Version, p.Text}, p.Text
	default:
		return l, fmt.Errorf("a message on channel %q", channel)
	}
	return l, nil
}
