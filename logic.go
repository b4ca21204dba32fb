package main

import (
	"fmt"
	"log/slog"
	"net/url"

	"golang.org/x/oauth2/clientcredentials"

	"github.com/oncegate/oncegate/handler/logic"
	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/tlsfile"
	"github.com/oncegate/oncegate/internal/upstream"
)

// chooseLogic returns the logic that the settings name, and what closes it: the backend of UPSTREAM_URL, or else echo.
func chooseLogic(c *config.Config, log *slog.Logger) (chosen logic.Logic, closeLogic func(), err error) {
	log.Info("starting", "version", version, "logic", logicName(c))
	if c.Upstream.URL == "" {
		if !c.Redis.Embedded() {
			log.Warn("THE LOGIC IS ECHO, for trying out: webhooks are answered and nothing is done; set UPSTREAM_URL")
		}
		return logic.Echo{Delay: c.Echo.Delay}, func() {}, nil
	}
	backend, err := newBackend(c, log)
	if err != nil {
		return nil, nil, err
	}
	return backend, backend.Close, nil
}

// logicName tells which logic runs, without what may be secret in a URL.
func logicName(c *config.Config) string {
	if c.Upstream.URL == "" {
		return "echo"
	}
	u, err := url.Parse(c.Upstream.URL)
	if err != nil {
		return "a backend"
	}
	return "backend " + u.Host
}

// newBackend returns the logic that forwards webhooks to the configured backend.
func newBackend(c *config.Config, log *slog.Logger) (*upstream.Upstream, error) {
	u := c.Upstream
	secured, err := tlsfile.Load(u.TLSCA, u.TLSCert, u.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("TLS to the backend (UPSTREAM_TLS_…): %w", err)
	}
	o := upstream.Options{
		URL: u.URL, StatusURL: u.StatusURL, KeyHeader: u.KeyHeader, UUID: u.KeyFormat == config.KeyUUID,
		Headers: u.StaticHeaders(), Keep: u.KeptHeaders(),
		Passthrough: c.HTTP.ResponseMode == config.Passthrough, MaxResultBytes: int(c.Execution.MaxResultBytes),
		BreakerFailures: u.BreakerFailures, BreakerPause: u.BreakerPause, IdleTimeout: u.IdleTimeout, TLS: secured, Log: log,
	}
	if u.OAuthTokenURL != "" {
		o.OAuth = &clientcredentials.Config{
			TokenURL: u.OAuthTokenURL, ClientID: u.OAuthClientID, ClientSecret: string(u.OAuthClientSecret), Scopes: u.Scopes(),
		}
	}
	return upstream.New(o)
}
