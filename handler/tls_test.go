package handler_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/handler"
	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/tlstest"
)

func TestCallersSpeakTLSWhereThereIsACertificate(t *testing.T) {
	authority := tlstest.NewAuthority(t)
	authority.Issue("gateway")
	c := handler.DefaultConfig()
	c.HTTP.TLSCert, c.HTTP.TLSKey = authority.Path("gateway.crt"), authority.Path("absent")
	c.HTTP.MaxConnections = 1
	log := slog.New(slog.DiscardHandler)
	if _, err := handler.Open(t.Context(), c, logic.Echo{}, log); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Fatalf("without a key: %v", err)
	}
	c.HTTP.TLSKey = authority.Path("gateway.key")
	gateway, err := handler.Open(t.Context(), c, logic.Echo{}, log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- gateway.Serve(ctx, listener) }()
	defer func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	trusts, err := tlsfile.Load(authority.Path("ca.crt"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	trusts.NextProtos = []string{"h2", "http/1.1"}
	url := "https://" + listener.Addr().String() + "/webhook/cognigy"
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trusts, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for _, want := range []string{`{"status":"success"`, `{"status":"cached"`} {
		answer, err := client.Post(url, "application/json", strings.NewReader(webhook))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != 200 || answer.ProtoMajor != 1 || !strings.HasPrefix(string(body), want) {
			t.Errorf("%s %s %s", answer.Proto, answer.Status, body)
		}
	}
	old := trusts.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if one, err := tls.Dial("tcp", listener.Addr().String(), old); err == nil {
		_ = one.Close()
		t.Error("TLS 1.1 is spoken")
	}
}
