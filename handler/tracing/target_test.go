package tracing

import (
	"strings"
	"testing"
	"time"
)

func TestWhereTracesGoIsSaidByTheStandardsVariables(t *testing.T) {
	for name, c := range map[string]struct {
		env  string
		url  string // "": traces are off
		gzip bool
		wait time.Duration
	}{
		"nothing":          {},
		"for all":          {env: "ENDPOINT=http://at:4318", url: "http://at:4318/v1/traces"},
		"with a path":      {env: "ENDPOINT=https://at/otlp/", url: "https://at/otlp/v1/traces"},
		"for traces":       {env: "TRACES_ENDPOINT=http://at/x ENDPOINT=http://other", url: "http://at/x"},
		"disabled":         {env: "ENDPOINT=http://at OTEL_SDK_DISABLED=true"},
		"another exporter": {env: "ENDPOINT=http://at OTEL_TRACES_EXPORTER=none"},
		"how": {env: "ENDPOINT=http://at COMPRESSION=gzip TIMEOUT=50", url: "http://at/v1/traces", gzip: true,
			wait: 50 * time.Millisecond},
		"how, for traces":    {env: "ENDPOINT=http://at COMPRESSION=x TRACES_COMPRESSION=none", url: "http://at/v1/traces"},
		"the only protocol":  {env: "ENDPOINT=http://at PROTOCOL=http/protobuf", url: "http://at/v1/traces"},
		"the usual exporter": {env: "ENDPOINT=http://at OTEL_TRACES_EXPORTER=otlp", url: "http://at/v1/traces"},
	} {
		d, err := target(environment(c.env))
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case d == nil:
			if c.url != "" {
				t.Errorf("%s: traces are off", name)
			}
		case d.url != c.url, d.gzip != c.gzip, c.wait > 0 && d.timeout != c.wait:
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestWhatMakesNoSenseIsToldAndNotQuotedWhereItMayBeSecret(t *testing.T) {
	for env, want := range map[string]string{
		"ENDPOINT=secret":                                "OTEL_EXPORTER_OTLP_ENDPOINT",
		"ENDPOINT=ftp://secret":                          "OTEL_EXPORTER_OTLP_ENDPOINT",
		"ENDPOINT=http://at PROTOCOL=grpc":               `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"`,
		"ENDPOINT=http://at HEADERS=secret":              "OTEL_EXPORTER_OTLP_HEADERS",
		"ENDPOINT=http://at HEADERS=a=secret%":           "OTEL_EXPORTER_OTLP_HEADERS",
		"ENDPOINT=http://at HEADERS=a=%0Ax":              "OTEL_EXPORTER_OTLP_HEADERS",
		"ENDPOINT=http://at COMPRESSION=zstd":            `OTEL_EXPORTER_OTLP_COMPRESSION is "zstd"`,
		"ENDPOINT=http://at TIMEOUT=10s":                 `OTEL_EXPORTER_OTLP_TIMEOUT is "10s"`,
		"ENDPOINT=http://at TIMEOUT=0":                   `OTEL_EXPORTER_OTLP_TIMEOUT is "0"`,
		"ENDPOINT=http://at CERTIFICATE=/none":           "OTEL_EXPORTER_OTLP_…CERTIFICATE",
		"ENDPOINT=http://at OTEL_TRACES_EXPORTER=zipkin": `OTEL_TRACES_EXPORTER is "zipkin"`,
	} {
		if _, err := target(environment(env)); err == nil || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", env, err)
		}
	}
}

// environment is one of name=value pairs; names of OTLP's exporters are without OTEL_EXPORTER_OTLP_.
func environment(pairs string) func(string) string {
	set := make(map[string]string)
	for pair := range strings.FieldsSeq(pairs) {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "OTEL_") {
			name = "OTEL_EXPORTER_OTLP_" + name
		}
		set[name] = value
	}
	return func(name string) string { return set[name] }
}
