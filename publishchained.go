package tracbus

import (
	"context"
	"errors"
	"fmt"
)

// Where the bus and the relay look for what a Publisher is.
var (
	_ chained = (*Publisher)(nil)
	_ error   = (*elsewhere)(nil)
)

// handleChained implements [chained].
func (p *Publisher) handleChained(_ context.Context, c chain, _ []Event) error {
	return fmt.Errorf("publish behind tid %d: %w", c.before.TID, errors.ErrUnsupported)
}
