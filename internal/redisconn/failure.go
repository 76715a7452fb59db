package redisconn

import (
	"context"
	"errors"
	"net"
)

// Failure is what the error of a command says about Redis, whatever the command
// was.
type Failure int

// The failures, from those that Redis reports to those that only the lack of an
// answer shows.
const (
	// NoFailure is that of a nil error.
	NoFailure Failure = iota
	// Forbidden is NOPERM: the user has no right to this command, channel or
	// key. Redis takes other commands.
	Forbidden
	// Refused is any other answer: most are about Redis's own state (OOM, MISCONF,
	// BUSY), so that other commands would be refused too.
	Refused
	// Misplaced is an answer of a server that cannot serve now, where another one
	// may: READONLY, MOVED, ASK, MASTERDOWN, CLUSTERDOWN, LOADING, TRYAGAIN. The
	// command was not executed. Whoever gets it connects again through his
	// [Router].
	Misplaced
	// Left is a connection that was given up because the client would connect
	// elsewhere now. The server may still execute the command.
	Left
	// HungUp is a connection that Redis or the network closed. Redis closes it on
	// a command that is too long, with or without "ERR Protocol error" before.
	HungUp
	// Unreachable is a connection that could not be made.
	Unreachable
	// Silent is a server that did not answer in time, or was not waited for
	// because the context was cancelled. It may still answer: while CLIENT PAUSE
	// lasts, for example.
	Silent
)

// FailureOf says what err is.
func FailureOf(err error) Failure {
	if err == nil {
		return NoFailure
	}
	var (
		waited interface{ Timeout() bool }
		dialed *net.OpError
	)
	switch {
	case errors.As(err, new(*LeftError)):
		return Left
	case errors.Is(err, context.Canceled), errors.As(err, &waited) && waited.Timeout():
		return Silent
	case errors.As(err, &dialed) && dialed.Op == "dial", sentinelWords(err) != "":
		return Unreachable
	case IsReply(err, "NOPERM"):
		return Forbidden
	case IsReply(err, "READONLY", "MOVED ", "ASK ", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "TRYAGAIN"):
		return Misplaced
	case IsReply(err) && !IsReply(err, protocolError):
		return Refused
	}
	return HungUp
}

// protocolError begins the last answer on a connection that Redis closes.
const protocolError = "ERR Protocol error"

// A LeftError ends a connection because the client would connect elsewhere now, or
// because the server is not what it was.
type LeftError struct {
	From, To string // addresses

	text string // instead of them
}

// Error implements error.
func (e *LeftError) Error() string {
	if e.text != "" {
		return e.text
	}
	return "the server is at " + e.To + " now, and not at " + e.From
}
