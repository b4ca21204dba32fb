package command

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/oncegate/oncegate/internal/config"
)

// Check prints what is in force for the gateway, and for each tenant, by a file of settings, which has been read and
// found valid.
func Check(c *config.Config, path string, out io.Writer) error {
	if path == "" {
		return errors.New("which file? want oncegate check FILE, or CONFIG")
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	show := func(of string, settings []config.Setting) {
		_, _ = fmt.Fprintln(table, of) // Flush has the errors
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
	_, _ = fmt.Fprintf(table, "%s is valid.\n", path)
	return table.Flush()
}
