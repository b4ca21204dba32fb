package command

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"github.com/oncegate/oncegate/internal/config"
	"github.com/oncegate/oncegate/internal/seal"
	"github.com/oncegate/oncegate/internal/tlsfile"
)

// Check prints the settings in force for the gateway and for each tenant, by a file of settings that has been read and
// found valid. The error names the files among these settings that a gateway could not use.
func Check(c *config.Config, path string, out io.Writer, log *slog.Logger) error {
	if path == "" {
		return errors.New("which file? want oncegate check FILE, or CONFIG")
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	show := func(of string, settings []config.Setting) {
		_, _ = fmt.Fprintln(table, of) // Flush returns the errors
		for _, s := range settings {
			if s.Value != "" {
				_, _ = fmt.Fprintf(table, "  %s\t%s\n", s.Name, s.Value)
			}
		}
	}
	settings, err := c.Settings()
	if err != nil {
		return err
	}
	show("the gateway", settings)
	for _, t := range c.All() {
		if settings, err = t.Settings(); err != nil {
			return err
		}
		of := "all webhooks"
		if t.Name != "" {
			of = "tenant " + t.Name
		}
		show(of, settings)
	}
	if err = errors.Join(table.Flush(), usable(c, log)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is valid.\n", path)
	return err
}

// usable reads the certificates and keys that settings name, as a gateway does at its start.
func usable(c *config.Config, log *slog.Logger) error {
	var problems []error
	try := func(of string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", of, err))
		}
	}
	pem := func(of, ca, cert, key string) {
		_, err := tlsfile.Load(ca, cert, key)
		try(of, err)
	}
	pem("TLS for callers (TLS_CERT, TLS_KEY)", "", c.HTTP.TLSCert, c.HTTP.TLSKey)
	pem("TLS to redis (REDIS_TLS_…)", c.Redis.TLSCA, c.Redis.TLSCert, c.Redis.TLSKey)
	for _, t := range c.All() {
		whose := ""
		if t.Name != "" {
			whose = "tenant " + t.Name + ": "
		}
		pem(whose+"TLS to the backend (UPSTREAM_TLS_…)", t.Upstream.TLSCA, t.Upstream.TLSCert, t.Upstream.TLSKey)
		_, err := seal.Load(t.Execution.ResultKeyFile, log)
		try(whose+"the keys of results", err)
	}
	return errors.Join(problems...)
}
