package tracing

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/oncegate/oncegate/internal/tlsfile"
)

// destination is where traces are sent to, and how.
type destination struct {
	url     string
	headers http.Header
	gzip    bool
	timeout time.Duration // of each try
	tls     *tls.Config
}

// target reads the destination from the environment variables of OTLP's exporters. nil: traces are off.
func target(getenv func(string) string) (*destination, error) {
	of := func(name string) string {
		return strings.TrimSpace(cmp.Or(getenv("OTEL_EXPORTER_OTLP_TRACES_"+name), getenv("OTEL_EXPORTER_OTLP_"+name)))
	}
	endpoint := of("ENDPOINT")
	if endpoint == "" || strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	exporter := strings.TrimSpace(getenv("OTEL_TRACES_EXPORTER"))
	if exporter == "none" {
		return nil, nil
	}
	if exporter != "" && exporter != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: must be otlp or none", exporter)
	}
	if protocol := of("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: must be http/protobuf, which receivers take at port 4318",
			protocol)
	}
	d := &destination{headers: http.Header{}, timeout: 10 * time.Second}
	at, err := url.Parse(endpoint)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Hostname() == "" { // the address may hold a secret
		return nil, errors.New("OTEL_EXPORTER_OTLP_ENDPOINT, or …_TRACES_ENDPOINT: must be http:// or https:// with a host")
	}
	if getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		at = at.JoinPath("v1", "traces")
	}
	d.url = at.String()
	for pair := range strings.SplitSeq(of("HEADERS"), ",") {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok && name == "" {
			continue
		}
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil || !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS: must be name=value,name=value, each value URL-encoded")
		}
		d.headers.Set(name, value)
	}
	switch compression := of("COMPRESSION"); compression {
	case "", "none":
	case "gzip":
		d.gzip = true
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_COMPRESSION is %q: must be gzip or none", compression)
	}
	if text := of("TIMEOUT"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_TIMEOUT is %q: must be a number of milliseconds above 0", text)
		}
		d.timeout = time.Duration(ms) * time.Millisecond
	}
	if d.tls, err = tlsfile.Load(of("CERTIFICATE"), of("CLIENT_CERTIFICATE"), of("CLIENT_KEY")); err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_…CERTIFICATE: %w", err)
	}
	return d, nil
}
