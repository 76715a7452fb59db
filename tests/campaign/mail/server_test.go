package mail_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	netmail "net/mail"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
)

// letter is a line of a mail server's log: one mail that it accepted.
type letter struct {
	Sender  string // how its client named itself
	ID      string
	To      []string // all who get it
	Subject string
}

// server is a process that keeps the mails it is sent. It says "mail: at" and
// its address, and then obeys the lines of its standard input, each of which it
// repeats behind "mail: ":
//
//	has 100                  answered once so many mails are kept
//	hold before p1 20        when 20 mails of that client are kept, its next one is
//	hold after p1 20         or the 20th one, and now: kept, but not answered. It
//	                         says "mail: holds" and which client waits, which it
//	                         does until "go on". All clients: *.
//	refuse 451               every mail, for now; it says "mail: refuses" once
//	refuse ann@example.org   this address, for good
//	accept                   all again
type server struct {
	mu      sync.Mutex
	log     *os.File
	kept    map[string]int // of each client, and of all
	holds   []*hold
	away    chan struct{} // closed to let those go on that are held
	awaited int           // mails; zero: none
	code    int           // with which every mail is refused
	said    bool          // that it is
	refused string        // the address that is
}

type hold struct {
	when, client string
	kept         int
}

// run serves until the process ends.
func (s *server) run(o orders) (err error) {
	s.kept, s.away = map[string]int{}, make(chan struct{})
	if s.log, err = os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	kept, err := os.ReadFile(o.Log)
	if err != nil {
		return err
	}
	s.kept["*"] = strings.Count(string(kept), "\n")
	l, err := net.Listen("tcp", o.Server)
	if err != nil {
		return err
	}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{server: s, conn: c}, nil
	}))
	server.ErrorLog = discard{} // clients are killed
	go s.obey()
	fmt.Println("mail: at", l.Addr())
	return server.Serve(l)
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

// obey does what standard input says.
func (s *server) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if s.do(strings.Fields(lines.Text())) {
			fmt.Println("mail: " + lines.Text())
		}
	}
	os.Exit(3)
}

// do obeys one order, and says whether it is done.
func (s *server) do(order []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := order[len(order)-1]
	number, _ := strconv.Atoi(last) // zero for what is none
	switch order[0] {
	case "has":
		s.awaited = number
		return s.reached()
	case "hold":
		s.holds = append(s.holds, &hold{order[1], order[2], number})
	case "go":
		close(s.away)
		s.away = make(chan struct{})
	case "refuse":
		s.code, s.refused, s.said = number, last, false
	case "accept":
		s.code, s.refused = 0, ""
	}
	return true
}

func (s *server) reached() bool {
	reached := s.awaited > 0 && s.kept["*"] >= s.awaited
	if reached {
		s.awaited = 0
	}
	return reached
}

// pass returns when a client is not held any more.
func (s *server) pass(when, client string) {
	s.mu.Lock()
	away, held := s.away, false
	for _, h := range s.holds {
		if h.when == when && (h.client == client || h.client == "*") && h.kept == s.kept[h.client] {
			h.when, held = "", true // once
		}
	}
	s.mu.Unlock()
	if held {
		fmt.Println("mail: holds", client)
		<-away
	}
}

// keep writes a mail down, so that it survives what may come.
func (s *server) keep(l letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := s.log.Write(append(b, '\n')); err != nil {
		return err
	}
	if err := s.log.Sync(); err != nil {
		return err
	}
	s.kept[l.Sender]++
	s.kept["*"]++
	if awaited := s.awaited; s.reached() {
		fmt.Println("mail: has", awaited)
	}
	return nil
}

// refuses returns the answer to a mail, or to one of its recipients.
func (s *server) refuses(to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.code > 0:
		if !s.said {
			s.said = true
			fmt.Println("mail: refuses")
		}
		return &smtp.SMTPError{Code: s.code, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "not now"}
	case to != "" && to == s.refused:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "unknown here: " + to}
	}
	return nil
}

// session is one client's.
type session struct {
	server *server
	conn   *smtp.Conn
	to     []string
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	s.server.pass("before", s.conn.Hostname())
	return s.server.refuses("")
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return s.server.refuses(to)
}

func (s *session) Data(r io.Reader) error {
	m, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, m.Body); err != nil { // all of it came
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		return err
	}
	l := letter{s.conn.Hostname(), strings.Trim(m.Header.Get("Message-ID"), "<>"), s.to, subject}
	if err := s.server.keep(l); err != nil {
		return err
	}
	s.server.pass("after", l.Sender)
	return nil
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }
