package main

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"time"

	"github.com/tracbus/tracbus/internal/plain"
)

// printJSON prints one line of JSON.
func (t *terminal) printJSON(v any) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(v); err != nil {
		return err
	}
	_, err := t.out.Write(plain.JSON(b.Bytes()))
	return err
}

// seconds is a time span as JSON has it.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// timeOrNil leaves out a time that is not known.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// harmless is a writer of lines of JSON, in which no character commands a terminal.
type harmless struct{ to io.Writer }

func (h harmless) Write(line []byte) (int, error) {
	if _, err := h.to.Write(plain.JSON(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// isName says whether a text can be a consumer's name.
func isName(s string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`).MatchString(s)
}
