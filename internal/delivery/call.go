package delivery

import (
	"errors"
	"fmt"
)

// ErrGoexit is the error of a listener that ended its goroutine.
var ErrGoexit = errors.New("the listener called runtime.Goexit")

// PanicError is what a listener, or other code of the application, panicked with.
type PanicError struct {
	Value any
	Stack []byte
}

// Error shows the value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// calls says what a listener is called with.
type calls = uint32

const (
	nothing calls = iota // no call is going on
	anEvent
	aGap
)
