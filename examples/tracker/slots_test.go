package main

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What takes the processor long is done by a few at a time, and not for those who
// have gone.
func TestSlots(t *testing.T) {
	s := make(slots, 2)
	begun, end := make(chan struct{}), make(chan struct{})
	var working sync.WaitGroup
	for range cap(s) {
		working.Go(func() {
			assert.NoError(t, s.do(t.Context(), func() error {
				begun <- struct{}{}
				<-end
				return nil
			}))
		})
		<-begun
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	err := s.do(gone, func() error { t.Error("it is worked for somebody who has gone"); return nil })
	assert.ErrorIs(t, err, context.Canceled)
	close(end)
	working.Wait()
	assert.NoError(t, s.do(t.Context(), func() error { return nil }))
}
