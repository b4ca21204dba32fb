package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/tlsfile"
)

// maxSaid bounds how many bytes of an answer are read and printed.
const maxSaid = 512

// Health asks a gateway whether it is ready, for at most as long as bound, and writes one line. An error says why it is
// not ready. If url is "", it asks the gateway on this machine that has the settings c; if url has no path, it asks
// /readyz.
func Health(ctx context.Context, url string, c config.HTTP, bound time.Duration, out io.Writer) error {
	var secured *tls.Config
	if url == "" {
		at, err := reachable(c.Listen)
		if err != nil {
			return err
		}
		url = "http://" + at + "/readyz"
		if c.TLSCert != "" {
			url = "https://" + at + "/readyz"
			if secured, err = itself(c.TLSCert); err != nil {
				return fmt.Errorf("health: %w", err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if request.URL.Scheme != "http" && request.URL.Scheme != "https" {
		return fmt.Errorf("health: the URL is %q, and must begin with http:// or https://", url)
	}
	if request.URL.Path == "" || request.URL.Path == "/" {
		request.URL.Path = "/readyz"
		url = request.URL.String()
	}
	client := http.Client{
		// without a proxy: it must reach this very gateway
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: secured},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	reply, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(reply.Body, maxSaid))
	if err != nil {
		return fmt.Errorf("not ready: %s answered %s and then nothing: %w", url, reply.Status, err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s answered %s: %s", url, reply.Status, plain(string(said)))
	}
	_, err = fmt.Fprintf(out, "ready: %s\n", url)
	return err
}

// reachable returns the address at which a gateway is reached from its own machine if it listens on the address listen.
func reachable(listen string) (address string, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("LISTEN %s: %w", listen, err)
	}
	if port == "0" {
		return "", fmt.Errorf("LISTEN is %s, any free port: name the URL (oncegate health URL)", listen)
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "", err == nil && ip == netip.IPv4Unspecified():
		host = "127.0.0.1"
	case err == nil && ip == netip.IPv6Unspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// itself trusts a server that shows the certificate in this file, under the name in that certificate: the address that
// is asked need not be in it.
func itself(cert string) (*tls.Config, error) {
	trusts, err := tlsfile.Load(cert, "", "")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(cert)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text) // the first certificate is the gateway's own
	shown, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", cert, err)
	}
	switch {
	case len(shown.DNSNames) > 0:
		trusts.ServerName = strings.Replace(shown.DNSNames[0], "*", "any", 1)
	case len(shown.IPAddresses) > 0:
		trusts.ServerName = shown.IPAddresses[0].String()
	}
	return trusts, nil
}
