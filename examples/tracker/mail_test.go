package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tracbus/tracbus"
	"github.com/tracbus/tracbus/tests/testdatabase"
)

// postOffice is a mail server. It has no mailbox for those in refused.
type postOffice struct {
	address string
	mu      sync.Mutex
	refused map[string]bool
	letters []letter
}

type letter struct {
	to      []string // as the server was told
	headers mail.Header
	body    string
}

func (l letter) subject() string {
	subject, err := new(mime.WordDecoder).DecodeHeader(l.headers.Get("Subject"))
	if err != nil {
		return err.Error()
	}
	return subject
}

func newPostOffice(t *testing.T) *postOffice { return newTLSPostOffice(t, nil) }

// newTLSPostOffice is newPostOffice for one that offers STARTTLS, if it is given how.
func newTLSPostOffice(t *testing.T, config *tls.Config) *postOffice {
	o := &postOffice{refused: map[string]bool{}}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &mailSession{office: o}, nil }))
	server.TLSConfig = config
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	o.address = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, smtp.ErrServerClosed) {
			assert.NoError(t, err)
		}
	})
	return o
}

// refuse has no mailbox for an address from now on, or has one again.
func (o *postOffice) refuse(address string, yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused[address] = yes
}

// kept returns the letters so far.
func (o *postOffice) kept() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]letter{}, o.letters...)
}

type mailSession struct {
	office *postOffice
	to     []string
}

func (*mailSession) Mail(string, *smtp.MailOptions) error { return nil }

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	if s.office.refused[to] {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	m, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		return err
	}
	s.office.mu.Lock()
	defer s.office.mu.Unlock()
	s.office.letters = append(s.office.letters, letter{s.to, m.Header, string(text)})
	return nil
}

func (s *mailSession) Reset()        { s.to = nil }
func (s *mailSession) Logout() error { return nil }

// Owner and cc get one mail for each change, also when the process dies that was
// to send it. One that is refused again and again waits for the operator.
func TestMail(t *testing.T) {
	t.Parallel()
	office := newPostOffice(t)
	r := newRig(t, testdatabase.New(t, "sqlite"), "-smtp", office.address, "-mail-domain", "example.org", "-metrics", "127.0.0.1:0")
	p, q := r.start(), r.start()
	c := newClient(t, p)
	c.ticket("summary", "not sent", "owner", `address@@x; <b>`, "cc", `"a..b"@example.org,"a@b"@example.org`, "description", "x") // keeps nobody from theirs
	c.ticket("summary", "one", "owner", "ann", "cc", `bob@example.com, ann; carl, bob@x@example.com, "a..b"@example.org`, "description", "How it is.", "author", "joe")
	eventually(t, "the first mail", func() bool { return len(office.kept()) == 1 })
	first := office.kept()[0]
	assert.Equal(t, []string{"ann@example.org", "bob@example.com", "carl@example.org"}, first.to)
	assert.Equal(t, "[tracker] #2 created by joe: one", first.subject())
	assert.Contains(t, first.body, "How it is.")
	assert.Regexp(t, `^<3\.0\.[A-Z2-7]+\.mail@[-0-9a-f]+>$`, first.headers.Get("Message-ID"))
	c.ticket("summary", "for nobody")

	holder, other := p, q
	if strings.Contains(q.figures(), `tracbus_consumer_leased_here{consumer="mail",journal="tracker"} 1`) {
		holder, other = q, p
	}
	require.Contains(t, holder.figures(), `tracbus_consumer_leased_here{consumer="mail",journal="tracker"} 1`)
	holder.kill() // another one sends the next
	c = newClient(t, other)
	c.send("/tickets/2", "/tickets/2", "summary", "one\r\nBcc: eve@example.org", "comment", "so it is", "author", "joe")
	eventually(t, "the second mail", func() bool { return len(office.kept()) == 2 })
	second := office.kept()[1]
	assert.NotContains(t, second.to, "eve@example.org", "a summary must not address anybody")
	assert.NotContains(t, second.headers, "Bcc")
	assert.Contains(t, second.body, "so it is")
	assert.Contains(t, second.body, `summary: "one" ->`)

	office.refuse("ann@example.org", true)
	c.send("/tickets/2", "/tickets/2", "summary", "refused", "author", "joe")
	c.ticket("summary", "behind it", "owner", "dora")
	eventually(t, "the mail behind the refused one", func() bool { return len(office.kept()) == 3 })
	assert.Equal(t, "[tracker] #4 created by anonymous: behind it", office.kept()[2].subject())

	c.signIn("olga")
	status := c.get("/status")
	assert.Contains(t, status.body, "Dead letters: mail")
	assert.Regexp(t, `tid \d+\.0, ticket 2</td><td>.*550.* \(8 times\)`, status.body)
	office.refuse("ann@example.org", false)
	tid := regexp.MustCompile(`tid (\d+)\.0, ticket 2<`).FindStringSubmatch(status.body)[1]
	require.Equal(t, "/status", c.send("/status", "/status", "do", "retry", "name", "mail", "tid", tid, "seq", "0").path)
	eventually(t, "the mail that was a dead letter", func() bool { return len(office.kept()) == 4 })
	assert.Equal(t, "[tracker] #2 changed by joe: refused", office.kept()[3].subject())
	eventually(t, "there is no dead letter", func() bool { return !strings.Contains(c.get("/status").body, "Dead letters: mail") })

	// One that is given up; another failed in truth, this one was made by hand.
	_, db := r.openJournal()
	_, err := db.ExecContext(ticking(t), `INSERT INTO journal_dead_letter (name, tid, seq, commit_id, realm, id, error, attempts, since, redeliver)
		SELECT 'mail', tid, 0, commit_id, 'ticket', '2', 'by hand', 8, 1, 0 FROM journal_change WHERE tid = 3`)
	require.NoError(t, err)
	assert.Contains(t, c.get("/status").body, "by hand (8 times)")
	refused := c.send("/status", "/status", "do", "drop", "name", "mail", "tid", "x", "seq", "0")
	assert.Equal(t, 400, refused.status, "%s", refused.problem())
	c.send("/status", "/status", "do", "drop", "name", "mail", "tid", "3", "seq", "0")
	assert.NotContains(t, c.get("/status").body, "Dead letters: mail")
	assert.Len(t, office.kept(), 4)

	// A name that a process runs cannot be forgotten.
	assert.Equal(t, 409, c.send("/status", "/status", "do", "drop-consumer", "name", "mail").status)
	assert.Equal(t, 404, c.send("/status", "/status", "do", "drop-consumer", "name", "nobody").status)
	assert.Equal(t, 400, c.send("/status", "/status", "do", "x", "name", "mail").status)
	assert.Contains(t, other.figures(), `tracbus_consumer_leased{consumer="mail",journal="tracker"} 1`)
}

// No mail leaves this machine unencrypted, or to a server that cannot show who it is,
// because whoever is between could take away that it offers STARTTLS.
func TestMailIsEncrypted(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // has a certificate of example.com
	web.StartTLS()
	defer web.Close()
	known := x509.NewCertPool()
	known.AddCert(web.Certificate())
	encrypted := &tls.Config{Certificates: web.TLS.Certificates}
	for _, tc := range []struct {
		name   string
		server *tls.Config // nil: STARTTLS is stripped off
		host   string
		roots  *x509.CertPool
		plain  bool
		want   string // "": it is sent
	}{
		{"stripped", nil, "example.com", known, false, "STARTTLS"},
		{"encrypted", encrypted, "example.com", known, false, ""},
		{"of nobody we know", encrypted, "example.com", x509.NewCertPool(), false, "certificate signed by unknown authority"},
		{"of another name", encrypted, "example.net", known, false, "not example.net"},
		{"switched off", nil, "example.com", known, true, ""},
		{"this machine", nil, "127.0.0.1", known, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			office := newTLSPostOffice(t, tc.server)
			m, err := newMailer(mailSettings{server: tc.host + ":25", from: "tracker@localhost", plain: tc.plain})
			require.NoError(t, err)
			m.roots = tc.roots
			m.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, office.address)
			}
			err = m.TicketCreated(ticking(t), tracbus.TicketCreated{ID: 1, Values: tracbus.Fields{"summary": "secret", "owner": "ann@example.org"}})
			if tc.want != "" {
				assert.ErrorContains(t, err, tc.want)
				assert.Empty(t, office.kept())
				return
			}
			require.NoError(t, err)
			require.Len(t, office.kept(), 1)
			assert.Contains(t, office.kept()[0].subject(), "secret")
		})
	}
}
