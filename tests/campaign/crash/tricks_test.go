package crash_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// tricks performs one trick when there is an occasion. Over a tap of the Redis
// client's connections it sees Redis's answers.
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

// emptyCall is more arguments than a script call has that carries no message.
const emptyCall = 25

// answered performs a trick after a call that carries messages was answered.
func (c *tricks) answered(commands [][]string) {
	for _, cmd := range commands {
		if strings.HasPrefix(cmd[0], "eval") && len(cmd) > emptyCall {
			c.perform(dieAfterScript)
		}
	}
}
