// Package words has the words that are added to errors of Redis: what one means, and
// what to do. It knows no connection.
package words

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"strings"
	"syscall"
)

// Connect says what is wrong with a connection, as far as its error does not, or "".
// The client encrypts, or not; and it may have failed while it began to.
func Connect(err error, encrypts, shaking bool) string {
	var (
		unknown *x509.UnknownAuthorityError
		name    *x509.HostnameError
		invalid *x509.CertificateInvalidError
		plain   *tls.RecordHeaderError
	)
	text := err.Error()
	switch {
	case asValue(err, &plain):
		return "the port does not speak TLS: expected option tls = disabled (redis:// in the place of rediss://), or another port"
	case asValue(err, &unknown):
		return "expected the authority that signed the server's certificate in option tls_ca"
	case asValue(err, &name):
		return "expected the name in the server's certificate in option tls_server_name"
	case asValue(err, &invalid):
		if invalid.Reason == x509.Expired {
			return "the server's certificate is not valid at this time: it needs another, or a clock is wrong"
		}
		return "the server needs another certificate"
	case strings.Contains(text, "remote error: tls: expired certificate"):
		return "the server takes our certificate for one that is not valid at this time: expected another in options tls_cert and tls_key, or a clock is wrong"
	case strings.Contains(text, "tls: certificate required"), strings.Contains(text, "remote error: tls: bad certificate"),
		strings.Contains(text, "remote error: tls: unknown certificate authority"),
		strings.Contains(text, "remote error: tls: error decrypting message"), // it knows one of the same name
		strings.Contains(text, "remote error: tls: handshake failure"):
		return "the server wants a certificate of an authority that it knows: expected options tls_cert and tls_key"
	case shaking:
		return "if the port speaks plain text: expected option tls = disabled (redis:// in the place of rediss://), or another port"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		const closed = "the server, or a proxy before it, closed the connection"
		if encrypts { // what it says about a certificate may get lost
			return closed + "; if it does so at once, it may not take our certificate: then expected others in options tls_cert and tls_key"
		}
		return closed + "; if it does so at once, the port may speak TLS: then expected option tls = enabled"
	}
	return ""
}

// asValue finds an error whose method has the value, not the pointer.
func asValue[E error](err error, target **E) bool {
	found, ok := errors.AsType[E](err)
	if ok {
		*target = &found
	}
	return ok
}
