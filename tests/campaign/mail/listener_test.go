package mail_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tracbus/tracbus/internal/testkit"

	gomail "github.com/wneessen/go-mail"

	"github.com/tracbus/tracbus"
)

// timeout is how long sending one mail may take. Under Durable the deadline of
// a call is shorter.
const timeout = testkit.Patience

// post is a TicketListener that mails each change to the ticket's owner and to
// those in its field cc.
type post struct {
	server  string // host and port
	helo    string // how it names itself there
	journal string // UUID
}

func (p *post) TicketCreated(ctx context.Context, e tracbus.TicketCreated) error {
	return p.mail(ctx, e, e.Values)
}

func (p *post) TicketChanged(ctx context.Context, e tracbus.TicketChanged) error {
	return p.mail(ctx, e, e.Values)
}

func (p *post) TicketDeleted(ctx context.Context, e tracbus.TicketDeleted) error {
	return p.mail(ctx, e, e.Values)
}

// mail mails one change. It returns nil only if the server has the mail, or there
// is nobody to get one.
func (p *post) mail(ctx context.Context, e tracbus.Event, ticket tracbus.Fields) error {
	m, c := gomail.NewMsg(), e.About()
	m.SetMessageIDWithValue(p.id(ctx, c))
	m.SetDateWithValue(c.Time)
	m.Subject(fmt.Sprintf("[%s] %s %s by %s: %s", c.Env, e.Resource(), e.Kind(), c.Author, ticket.Text("summary")))
	m.SetBodyString(gomail.TypeTextPlain, c.Comment)
	to, cc := mailboxes(ticket.Text("owner")), mailboxes(ticket.Text("cc"))
	if len(to)+len(cc) == 0 {
		return nil
	}
	if err := errors.Join(m.From("tracker@example.org"), m.To(to...), m.Cc(cc...)); err != nil {
		return err
	}
	return p.send(ctx, m)
}

// id returns the Message-ID of a change's mail. It is the same whoever sends it,
// and however often: a mail that was on its way when its sender died comes a
// second time under Durable, and whoever keeps the ids of what came can drop it
// (in Sieve: the test "duplicate" of RFC 7352).
func (p *post) id(ctx context.Context, c tracbus.Change) string {
	journal, name := p.journal, "primary"
	if turn, ok := tracbus.LeaseFrom(ctx); ok {
		journal, name = turn.JournalUUID, turn.Consumer
	}
	return mailID(c.TID, c.Seq, c.CommitID, name, journal)
}

// mailID has the mark too: should the database be put back to an older state, a
// tid comes again with another change.
func mailID(tid int64, seq int, mark, name, journal string) string {
	return fmt.Sprintf("%d.%d.%s.%s@%s", tid, seq, mark, name, journal)
}

// mailboxes returns the addresses of users: "ann, bob@example.org".
func mailboxes(users string) (all []string) {
	for user := range strings.FieldsFuncSeq(users, func(r rune) bool { return strings.ContainsRune(" ,;", r) }) {
		if !strings.Contains(user, "@") {
			user += "@example.org"
		}
		all = append(all, user)
	}
	return all
}

// send hands a message to the server, before ctx ends.
func (p *post) send(ctx context.Context, m *gomail.Msg) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not sent within %v", timeout))
	defer cancel()
	host, service, err := net.SplitHostPort(p.server)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return err
	}
	client, err := gomail.NewClient(host, gomail.WithPort(port), gomail.WithHELO(p.helo),
		gomail.WithTLSPolicy(gomail.NoTLS), gomail.WithTimeout(timeout),
		gomail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
			if err == nil { // or the library would heed a context while it connects, and no longer
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		}))
	if err != nil {
		return err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = client.SendWithSMTPClient(session, m)
		_ = client.CloseWithSMTPClient(session) // the mail is sent or not, however they part
	}
	if m.IsDelivered() { // an error came after the server's yes: sent again it would come twice
		return nil
	}
	if ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return err
}

var _ tracbus.TicketListener = (*post)(nil)

// mailed is a change of a ticket whose owner and cc get a mail.
func mailed(id int64, comment string) tracbus.TicketChanged {
	return tracbus.TicketChanged{
		Change: tracbus.Change{Comment: comment, Time: time.Now()}, ID: id,
		Values: tracbus.Fields{"summary": "It does not start.", "owner": fmt.Sprint("owner", id), "cc": "ann, bob@example.com", "status": comment},
		Old:    tracbus.Fields{"status": "before " + comment},
	}
}
