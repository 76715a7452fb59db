package testserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CertFiles are an authority of a test's own and what it signed: a server
// certificate for 127.0.0.1, ::1 and localhost, and a client certificate. All
// are paths of PEM files.
type CertFiles struct {
	CA                    string
	ServerCert, ServerKey string
	ClientCert, ClientKey string

	ca     *x509.Certificate
	caKey  *ecdsa.PrivateKey
	server x509.Certificate // what is asserted, without a signature
	client x509.Certificate
}

// Certificates makes a new authority and its certificates. Two calls make two
// that do not trust each other.
func Certificates(t testing.TB) *CertFiles {
	t.Helper()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "tracbus test authority"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	server := x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "tracbus test server"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	client := x509.Certificate{
		SerialNumber: big.NewInt(3),
		Subject:      pkix.Name{CommonName: "tracbus test client"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}

	dir := t.TempDir()
	caKey := newKey(t)
	f := &CertFiles{CA: filepath.Join(dir, "ca.crt"), ca: ca, caKey: caKey, server: server, client: client}
	writePEM(t, f.CA, "CERTIFICATE", sign(t, ca, ca, caKey, caKey))
	f.ServerCert, f.ServerKey = issue(t, filepath.Join(dir, "server"), &server, ca, caKey)
	f.ClientCert, f.ClientKey = issue(t, filepath.Join(dir, "client"), &client, ca, caKey)
	return f
}

// With returns the same files, but for certificates of the server's and the client's
// that the authority has signed with a change. Nil means without.
func (f *CertFiles) With(t testing.TB, server, client func(*x509.Certificate)) *CertFiles {
	t.Helper()
	dir := t.TempDir()
	changed := *f
	if server != nil {
		server(&changed.server)
		changed.ServerCert, changed.ServerKey = issue(t, filepath.Join(dir, "server"), &changed.server, f.ca, f.caKey)
	}
	if client != nil {
		client(&changed.client)
		changed.ClientCert, changed.ClientKey = issue(t, filepath.Join(dir, "client"), &changed.client, f.ca, f.caKey)
	}
	return &changed
}

// ClientConfig returns the settings of a client that trusts the authority and
// shows the client certificate.
func (f *CertFiles) ClientConfig(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.ClientCert, f.ClientKey)
	if err != nil {
		t.Fatalf("client certificate: %v", err)
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatalf("authority: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("authority: no certificate in %s", f.CA)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
}

// issue writes base.crt and base.key.
func issue(t testing.TB, base string, leaf, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (cert, key string) {
	t.Helper()
	k := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatalf("key of %s: %v", base, err)
	}
	cert, key = base+".crt", base+".key"
	writePEM(t, cert, "CERTIFICATE", sign(t, leaf, ca, k, caKey))
	writePEM(t, key, "PRIVATE KEY", der)
	return cert, key
}

func sign(t testing.TB, cert, ca *x509.Certificate, key, caKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatalf("sign %s: %v", cert.Subject, err)
	}
	return der
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("generate key: %v", err)
	}
	return key
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
