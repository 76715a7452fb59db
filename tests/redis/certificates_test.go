package redis_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/tracbus/tracbus/internal/testserver"
)

// certificates are faults of an address that leads, from the beginning, to a server
// whose certificate is no good, or who takes ours for no good. It ends with another
// server there.
var certificates = []fault{
	{name: "another authority has signed the server's certificate", begin: func(t *testing.T, s *scene) func() {
		return s.encrypted(t, testserver.Certificates(t))
	}, says: all("certificate signed by unknown authority … in option tls_ca")},
	{name: "the server's certificate is for another name", begin: func(t *testing.T, s *scene) func() {
		return s.encrypted(t, s.certificates(t).With(t, func(c *x509.Certificate) {
			c.DNSNames, c.IPAddresses = []string{"elsewhere.example"}, nil
		}, nil))
	}, says: all("cannot validate certificate for 127.0.0.1 … in option tls_server_name")},
	{name: "the server's certificate has expired", begin: func(t *testing.T, s *scene) func() {
		return s.encrypted(t, s.certificates(t).With(t, expired, nil))
	}, says: all("certificate has expired … it needs another, or a clock is wrong")},
	{name: "the server has another authority than ours, of the same name", begin: func(t *testing.T, s *scene) func() {
		certs := *s.certificates(t)
		certs.CA = testserver.Certificates(t).CA
		return s.encrypted(t, &certs)
	}, says: all("error decrypting message … expected options tls_cert and tls_key OR it may not take our certificate")},
	{name: "our certificate has expired", begin: func(t *testing.T, s *scene) func() {
		s.config.TLS = trust(s.certificates(t).With(t, nil, expired))
		return s.encrypted(t, s.certs)
	}, says: all("expired certificate … expected another in options tls_cert and tls_key OR it may not take our certificate")},
	{name: "the server wants a certificate, and we have none", begin: func(t *testing.T, s *scene) func() {
		s.certificates(t)
		s.config.TLS.CertFile, s.config.TLS.KeyFile = "", ""
		return s.encrypted(t, s.certs)
	}, says: all("certificate required … expected options tls_cert and tls_key OR it may not take our certificate")},
}

// certificates returns those with which everybody connects. They are the scene's own
// server's, too, which asks nobody for one.
func (s *scene) certificates(t *testing.T) *testserver.CertFiles {
	t.Helper()
	if s.certs == nil {
		s.certs = testserver.Certificates(t)
		s.config.TLS = trust(s.certs)
		s.server = testserver.Redis(t, testserver.RedisOptions{
			Users: users(server), TLS: s.certs, Args: []string{"--tls-auth-clients", "no"},
		})
	}
	return s.certs
}

// encrypted has the address lead to a server with some certificates, of which the
// authority is for the certificates of clients. The function that it returns leads to
// the scene's own.
func (s *scene) encrypted(t *testing.T, certs *testserver.CertFiles) (back func()) {
	t.Helper()
	s.certificates(t)
	return s.leadTo(testserver.Redis(t, testserver.RedisOptions{Users: users(server), TLS: certs}).Addr())
}

// expired has a certificate be none any more.
func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
}
