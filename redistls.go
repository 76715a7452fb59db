package tracbus

import (
	"crypto/tls"
	"crypto/x509"
	"os"
)

// RedisTLS says how connections are encrypted. Zero means that the server's
// certificate is checked against the system's authorities. All files are PEM; in
// a trac.ini their paths are relative to its folder.
type RedisTLS struct {
	// CAFile holds the authorities that may have signed the server's certificate
	// (option tls_ca). Zero means the system's.
	CAFile string

	// CertFile and KeyFile are this client's own certificate and its key (options
	// tls_cert and tls_key). Zero means that none is shown.
	CertFile, KeyFile string

	// ServerName is the name that the server's certificate must have (option
	// tls_server_name). Zero means the host that is connected to.
	ServerName string
}

// load reads the files.
func (t RedisTLS) load() (*tls.Config, *ConfigError) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, badRedis("tls_ca", t.CAFile, "a readable file").because(err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, badRedis("tls_ca", t.CAFile, "a file with certificates in PEM form")
		}
	}
	switch {
	case t.CertFile == "" && t.KeyFile == "":
		return config, nil
	case t.KeyFile == "":
		return nil, badRedis("tls_cert", t.CertFile, "a tls_key with it")
	case t.CertFile == "":
		return nil, badRedis("tls_key", t.KeyFile, "a tls_cert with it")
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, badRedis("tls_cert", t.CertFile, "a certificate and its key in PEM form").because(err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
