package crash_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// trick is what a relay does to itself where chance would seldom hit.
type trick string

const (
	noTrick        trick = "none"
	dieBeforeCall  trick = "die-before-call"  // the listener was called, and has done nothing
	hangInCall     trick = "hang-in-call"     // the same, until another trick is ordered; says "crash: hangs"
	dieInCall      trick = "die-in-call"      // the listener has done its work, and not returned
	stopInCall     trick = "stop-in-call"     // the same, as SIGSTOP does; says "crash: stops"
	dieAfterScript trick = "die-after-script" // Redis has answered to a script, and the library does not know yet
)

// tricks performs one trick when there is an occasion. As a hook of the
// Redis client it sees Redis's answers.
type tricks struct {
	goOn chan struct{} // has room for a token

	mu    sync.Mutex
	armed trick
}

// arm has a trick performed at the next occasion. Whoever hangs goes on.
func (c *tricks) arm(trick trick) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = trick
	select {
	case c.goOn <- struct{}{}:
	default:
	}
}

// take returns the trick that is armed, if it is one of those, and disarms it.
func (c *tricks) take(tricks []trick) trick {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(tricks, c.armed) {
		return noTrick
	}
	trick := c.armed
	c.armed = noTrick
	select {
	case <-c.goOn:
	default:
	}
	return trick
}

// perform does the trick that is armed, if it is one of those.
func (c *tricks) perform(tricks ...trick) {
	switch c.take(tricks) {
	case dieBeforeCall, dieInCall, dieAfterScript:
		signalSelf("-KILL")
		select {}
	case stopInCall:
		fmt.Println("crash: stops")
		signalSelf("-STOP")
		<-c.goOn
	case hangInCall:
		fmt.Println("crash: hangs")
		<-c.goOn
	}
}

func signalSelf(signal string) { _ = exec.Command("kill", signal, strconv.Itoa(os.Getpid())).Run() }

// DialHook implements redis.Hook.
func (c *tricks) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *tricks) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		c.answered(cmd)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *tricks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		c.answered(cmds...)
		return err
	}
}

// emptyCall is more arguments than a script call has that carries no message.
const emptyCall = 25

func (c *tricks) answered(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if strings.HasPrefix(cmd.Name(), "eval") && len(cmd.Args()) > emptyCall && cmd.Err() == nil {
			c.perform(dieAfterScript)
		}
	}
}
