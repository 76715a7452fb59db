package stream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestID(t *testing.T) {
	for s, want := range map[string]ID{
		"0-0": {}, "5": {5, 0}, "5-7": {5, 7}, "007-01": {7, 1}, "18446744073709551615-18446744073709551615": {1<<64 - 1, 1<<64 - 1},
	} {
		id, err := ParseID(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, id, s)
		assert.Equal(t, id == (ID{}), id.compare(ID{}) == 0, s)
		if previous := id.previous(); id != (ID{}) {
			assert.Equal(t, -1, previous.compare(id), s)
		}
	}
	for _, s := range []string{"", "-", "1-", "-1", "1--1", "+1", "1-+1", "x", "1-x", "$", "1-1-1", " 1-1", "18446744073709551616-0", strings.Repeat("9", 99)} {
		_, err := ParseID(s)
		assert.ErrorContains(t, err, "expected two numbers of 64 bits, as in 17-0", "%q", s)
	}
}

// TestIDParts: an id holds a generation and a tid.
func TestIDParts(t *testing.T) {
	id, err := ParseID("844424930131977-4")
	require.NoError(t, err)
	assert.EqualValues(t, 3, id.generation())
	assert.EqualValues(t, 9, id.tid())
	assert.Equal(t, "844424930131977-4", id.String())
	assert.Equal(t, "844424930131977-3", id.previous().String())
}
