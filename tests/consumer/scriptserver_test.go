package consumer_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// scriptServer is a Redis that exists in a test only, so that time may be the test's,
// too. It answers the publisher's script with an error, until it is back.
type scriptServer struct {
	mu        sync.Mutex
	answer    string // "" when it is back
	asked     []time.Time
	published chan time.Time
}

// calls returns when the script was called.
func (s *scriptServer) calls() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.asked...)
}

// back has the script run. The channel tells when it publishes.
func (s *scriptServer) back() (published <-chan time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.published = "", make(chan time.Time, 100)
	return s.published
}

// run answers a command.
func (s *scriptServer) run(words []string) string {
	if !strings.EqualFold(words[0], "evalsha") {
		return "-ERR unknown command\r\n"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Now())
	if s.answer != "" {
		return s.answer
	}
	keys, _ := strconv.Atoi(words[2])
	if messages := words[3+keys+16]; messages != "0" {
		s.published <- time.Now()
	}
	return "*3\r\n$4\r\ndone\r\n:1\r\n:1\r\n"
}

// dial is the Dialer of a client.
func (s *scriptServer) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	said := make(chan string, 100) // whoever sends much does not read meanwhile
	go func() {
		for answer := range said {
			_, _ = io.WriteString(far, answer)
		}
	}()
	go func() {
		defer close(said)
		defer far.Close()
		for in := bufio.NewReader(far); ; {
			words, err := readCommand(in)
			if err != nil {
				return
			}
			said <- s.run(words)
		}
	}()
	return near, nil
}

// readCommand reads what a client sends.
func readCommand(in *bufio.Reader) (words []string, err error) {
	number := func() (n int) {
		var line string
		if line, err = in.ReadString('\n'); err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		word := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(in, word)
		}
		if err != nil {
			return nil, err
		}
		words = append(words, string(word[:len(word)-2]))
	}
	return words, err
}
