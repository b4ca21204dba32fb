// Package tracetest is a receiver of traces for tests: it receives what a gateway sends by OTLP over HTTP.
package tracetest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span that was received.
type Span struct {
	Name, Kind        string // the kind in lower case: server, client or internal
	Trace, ID, Parent string // hex
	State             string // tracestate
	Attributes        map[string]string
	Resource          map[string]string
	Links             []string // IDs of spans
	Failed            bool
	Why               string
	Took              time.Duration
}

// Receiver keeps what it has received.
type Receiver struct {
	URL string // of the server; traces arrive at /v1/traces

	mu    sync.Mutex
	spans []Span
	last  *http.Request
	text  bytes.Buffer
	fault func(http.ResponseWriter) bool
}

// Start starts a receiver, which ends with the test.
func Start(t testing.TB) *Receiver {
	r := new(Receiver)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// Fails lets a function answer requests first; it returns true if it has answered. nil: the receiver accepts all.
func (r *Receiver) Fails(fault func(http.ResponseWriter) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = fault
}

// ServeHTTP receives a batch of spans.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	fault := r.fault
	r.mu.Unlock()
	if fault != nil && fault(w) {
		return
	}
	var from io.Reader = request.Body
	if request.Header.Get("Content-Encoding") == "gzip" {
		from, _ = gzip.NewReader(from)
	}
	body, err := io.ReadAll(from)
	batch := new(trace.TracesData)
	if err != nil || proto.Unmarshal(body, batch) != nil || request.URL.Path != "/v1/traces" ||
		request.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = request
	r.text.Write(body)
	for _, of := range batch.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, read(s, of.Resource.GetAttributes()))
			}
		}
	}
}

func read(s *trace.Span, resource []*common.KeyValue) Span {
	took := time.Duration(s.EndTimeUnixNano) - time.Duration(s.StartTimeUnixNano)
	read := Span{
		Name: s.Name, Kind: strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")),
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		State: s.TraceState, Attributes: attributes(s.Attributes), Resource: attributes(resource),
		Failed: s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR, Why: s.Status.GetMessage(), Took: took,
	}
	for _, l := range s.Links {
		read.Links = append(read.Links, hex.EncodeToString(l.SpanId))
	}
	return read
}

func attributes(of []*common.KeyValue) map[string]string {
	read := make(map[string]string)
	for _, pair := range of {
		switch v := pair.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			read[pair.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			read[pair.Key] = fmt.Sprint(v.IntValue)
		case *common.AnyValue_BoolValue:
			read[pair.Key] = fmt.Sprint(v.BoolValue)
		}
	}
	return read
}

// Spans returns the spans received so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Last returns the latest request that brought some.
func (r *Receiver) Last() *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Text returns everything received, as bytes.
func (r *Receiver) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
