package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/tracbus/tracbus"
)

// mailSettings are what the command line says of mail.
type mailSettings struct {
	server string // host:port; "": mails go to the log
	from   string
	domain string // of those who have none; "": they get no mail
	plain  bool   // to a server that cannot encrypt
}

// mailer is a TicketListener that mails each change of a ticket to its owner and
// to those in its field cc. It is registered as a durable consumer: one process at a
// time is called, and called again until it returns nil.
type mailer struct {
	mailSettings
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	roots *x509.CertPool // that certificates of the server lead to; nil: those of the system
}

// newMailer refuses settings that could never send a mail.
func newMailer(s mailSettings) (*mailer, error) {
	if err := mail.NewMsg().From(s.from); err != nil {
		return nil, fmt.Errorf("-mail-from %q: expected an address: %w", s.from, err)
	}
	if _, err := netmail.ParseAddress("x@" + s.domain); err != nil && s.domain != "" {
		return nil, fmt.Errorf("-mail-domain %q: expected a domain: %w", s.domain, err)
	}
	m := &mailer{mailSettings: s, dial: (&net.Dialer{}).DialContext}
	if s.server == "" {
		return m, nil
	}
	_, port, err := net.SplitHostPort(s.server)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return nil, fmt.Errorf("-smtp %q: expected host:port: %w", s.server, err)
	}
	return m, nil
}

func (m *mailer) TicketCreated(ctx context.Context, e tracbus.TicketCreated) error {
	return m.mail(ctx, e, e.Values, e.Values.Text("description"))
}

func (m *mailer) TicketChanged(ctx context.Context, e tracbus.TicketChanged) error {
	var text strings.Builder
	for _, f := range changeOf(e).Fields {
		fmt.Fprintf(&text, "%s: %q -> %q\n", f.Name, f.Old, f.New)
	}
	return m.mail(ctx, e, e.Values, text.String()+"\n"+e.Comment)
}

func (m *mailer) TicketDeleted(ctx context.Context, e tracbus.TicketDeleted) error {
	return m.mail(ctx, e, e.Values, e.Comment)
}

// mail returns nil when the server has the mail, or nobody is to get one. A mail
// goes to all or to none: if the server refuses one of them, the call is repeated.
func (m *mailer) mail(ctx context.Context, e tracbus.Event, ticket tracbus.Fields, text string) error {
	c := changeOf(e)
	to := m.addresses(ticket.Text("owner") + "," + ticket.Text("cc"))
	if len(to) == 0 {
		return nil
	}
	subject := fmt.Sprintf("[%s] %s %s by %s: %s", e.About().Env, c.Title, c.What, c.Author, c.Summary)
	if m.server == "" {
		slog.Info("mail", "to", strings.Join(to, ", "), "subject", subject)
		return nil
	}
	letter := mail.NewMsg()
	letter.SetMessageIDWithValue(messageID(ctx, e.About()))
	letter.SetDateWithValue(c.Time)
	letter.Subject(subject)
	letter.SetBodyString(mail.TypeTextPlain, text+"\n")
	if err := errors.Join(letter.From(m.from), letter.To(to...)); err != nil {
		return fmt.Errorf("mail to %s: %w", to, err)
	}
	if err := m.send(ctx, letter); err != nil && !letter.IsDelivered() {
		return fmt.Errorf("mail to %s: %w", to, err)
	}
	return nil // an error after the server's yes changes nothing
}

// messageID is the same whoever sends the mail of a change, and however often: a
// mail that was on its way when its sender died comes again, and can be recognised.
func messageID(ctx context.Context, c tracbus.Change) string {
	turn, _ := tracbus.LeaseFrom(ctx)
	return fmt.Sprintf("%d.%d.%s.%s@%s", c.TID, c.Seq, c.CommitID, turn.Consumer, turn.JournalUUID)
}

// mostMailboxes is how many people a field of a ticket may name: this is no way to
// write to everybody.
const mostMailboxes = 20

// mailboxes returns the people of "ann, bob@example.org".
func mailboxes(people string) []string {
	return strings.FieldsFunc(people, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' })
}

// addresses returns the addresses of people. What cannot be one gets no mail, and
// keeps nobody else from theirs.
func (m *mailer) addresses(people string) (all []string) {
	for _, one := range mailboxes(people) {
		if !strings.Contains(one, "@") && m.domain != "" {
			one += "@" + m.domain
		}
		address, err := netmail.ParseAddress(one)
		if err == nil { // one that is only an address between quotation marks is none to servers
			address, err = netmail.ParseAddress(address.Address)
		}
		if err != nil || slices.Contains(all, address.Address) || len(all) == 2*mostMailboxes { // of two fields
			continue
		}
		all = append(all, address.Address)
	}
	return all
}

// send hands a letter to the server, or gives up when ctx ends: before the call's
// deadline is over, at which another process would begin.
func (m *mailer) send(ctx context.Context, letter *mail.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	host, service, err := net.SplitHostPort(m.server)
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return err
	}
	client, err := mail.NewClient(host, mail.WithPort(port), mail.WithTLSPolicy(m.tlsFor(host)),
		mail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}),
		mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			conn, err := m.dial(dialing, network, address)
			if err == nil { // the library heeds a context only until it is connected
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		}))
	if err != nil {
		return err
	}
	if err := client.DialAndSendWithContext(ctx, letter); err != nil {
		return errors.Join(err, ctx.Err())
	}
	return nil
}

// tlsFor sends nothing that is not encrypted, to no server that cannot show who it is:
// whoever is between could else take away what the server says of STARTTLS. What does not
// leave this machine needs neither.
func (m *mailer) tlsFor(host string) mail.TLSPolicy {
	if m.plain || host == "localhost" || net.ParseIP(host).IsLoopback() {
		return mail.NoTLS
	}
	return mail.TLSMandatory
}
