// Package setting reads the settings of a connection to Redis, and finds those that
// cannot work before there is a connection.
package setting

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"
)

// A BadSetting is one that cannot work. It is found before a client is made,
// rather than at every command.
type BadSetting struct {
	Option string // as [redis_client] in trac.ini calls it
	Value  string // it may hold a secret
	Want   string
	Err    error // the cause, without a path; or nil
}

// CheckAddrs checks each as CheckAddr does.
func CheckAddrs(option string, addrs []string) *BadSetting {
	for _, addr := range addrs {
		if bad := CheckAddr(option, addr); bad != nil {
			return bad
		}
	}
	return nil
}

// CheckAddr checks host:port.
func CheckAddr(option, addr string) *BadSetting {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &BadSetting{Option: option, Value: addr, Want: "host:port, an IPv6 address in brackets"}
	}
	if bad := CheckHost(option, host); bad != nil {
		return bad
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return &BadSetting{Option: option, Value: addr, Want: "a port from 1 to 65535"}
	}
	return nil
}

// CheckHost refuses what cannot be a name or an IP address.
func CheckHost(option, host string) *BadSetting {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	odd := func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`:/\@[]?#`, r)
	}
	switch {
	case host == "":
		return &BadSetting{Option: option, Want: "a name or an IP address"}
	case strings.Contains(host, "://"):
		return &BadSetting{Option: option, Want: "a name or an IP address (option url takes a URL)"}
	case strings.ContainsFunc(host, odd):
		return &BadSetting{Option: option, Value: host, Want: "a name or an IP address alone"}
	}
	return nil
}

// LoadTLS reads the files of PEM that are named: authorities, and a certificate
// with its key.
func LoadTLS(caFile, certFile, keyFile, serverName string) (*tls.Config, *BadSetting) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, &BadSetting{"tls_ca", caFile, "a readable file", withoutPath(err)}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &BadSetting{Option: "tls_ca", Value: caFile, Want: "a file with certificates in PEM form"}
		}
	}
	switch {
	case certFile == "" && keyFile == "":
		return config, nil
	case keyFile == "":
		return nil, &BadSetting{Option: "tls_cert", Value: certFile, Want: "a tls_key with it"}
	case certFile == "":
		return nil, &BadSetting{Option: "tls_key", Value: keyFile, Want: "a tls_cert with it"}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, &BadSetting{"tls_cert", certFile, "a certificate and its key in PEM form", withoutPath(err)}
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// withoutPath takes the path off an error, because the value may have to be left
// out.
func withoutPath(err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err
	}
	return err
}
