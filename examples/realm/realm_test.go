package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
)

// TestRealm runs the program.
func TestRealm(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(&out))
	assert.Equal(t, `Listener: tid 1, milestone 1.0 created by ann: due 2030-01-02, "First"
Listener: tid 2, milestone 1.0 changed by bob: due unknown, "When it is done"; before due 2030-01-02, "First"
Conflict: update: not committed: save milestone 1.0: version 2 is stored, the edit is of 1: changed by somebody else meanwhile
Nothing is different, so nothing is stored
Listener: tid 3, milestone 1.0 deleted by ann: due unknown, "When it is done"
Redis: trac.demo.milestone.changed.1.0 {"author":"bob","description":"When it is done","name":"1.0"}
History: tid 1, created by ann
History: tid 2, changed by bob
History: tid 3, deleted by ann
`, out.String())
}

// TestMilestonesComeBackFromTheJournal checks what every realm must keep: its
// events are the same after the journal has kept them as entries.
func TestMilestonesComeBackFromTheJournal(t *testing.T) {
	due := time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	first := Milestone{Name: "1.0", Version: 1, Due: due, Description: "First"}
	second := Milestone{Name: "1.0", Version: 2, Description: "First"}
	c := tracbus.Change{Author: "ann", Time: due}
	for _, event := range []tracbus.Recordable{
		MilestoneCreated{c, first}, MilestoneChanged{c, second, first}, MilestoneDeleted{c, second},
	} {
		back, err := Milestones{}.Event(event.Entry())
		require.NoError(t, err)
		assert.Equal(t, event, back)
	}
}
