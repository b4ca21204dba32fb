package tlsfile

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Serving is the certificate that is shown to callers. It is read again when its files change, so that a new one needs
// no restart.
type Serving struct {
	cert, key string
	every     time.Duration
	log       *slog.Logger

	mu      sync.Mutex // guards the fields below
	current *tls.Certificate
	text    []byte // of both files, as they were read last
	looked  time.Time
}

// NewServing reads a certificate, with its intermediates, and its key from PEM files. Handshakes check for changes of
// the files, at most once in every.
func NewServing(cert, key string, every time.Duration, log *slog.Logger) (*Serving, error) {
	s := &Serving{cert: cert, key: key, every: every, log: log}
	return s, s.read()
}

// Config returns the configuration for a listener of HTTP/1.1.
func (s *Serving) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: s.certificate}
}

func (s *Serving) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.looked) >= s.every {
		if err := s.read(); err != nil {
			s.log.Error("the certificate that is shown to callers can't be read again: the one before stays", "error", err)
		}
	}
	return s.current, nil
}

// read takes the contents of the files, unless it has taken them before.
func (s *Serving) read() error {
	s.looked = time.Now()
	cert, err := os.ReadFile(s.cert)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	key, err := os.ReadFile(s.key)
	if err != nil {
		return fmt.Errorf("its key: %w", err)
	}
	text := bytes.Join([][]byte{cert, key}, []byte{0})
	if bytes.Equal(text, s.text) {
		return nil
	}
	s.text = text
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate %q with the key %q: %w", s.cert, s.key, err)
	}
	if s.current != nil {
		s.log.Info("callers are shown a new certificate", "ends", pair.Leaf.NotAfter)
	}
	s.current = &pair
	return nil
}
