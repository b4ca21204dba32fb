package command

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/oncegate/oncegate/internal/config"
)

// Check prints what is in force for each tenant by a file of settings, which has been read and found valid.
func Check(c *config.Config, path string, out io.Writer) error {
	if path == "" {
		return errors.New("which file? want oncegate check FILE, or CONFIG")
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range c.All() {
		settings, err := t.Settings()
		if err != nil {
			return err
		}
		if t.Name != "" {
			_, _ = fmt.Fprintf(table, "tenant %s\n", t.Name) // Flush has the errors
		}
		for _, s := range settings {
			if s.Value != "" {
				_, _ = fmt.Fprintf(table, "  %s\t%s\n", s.Name, s.Value)
			}
		}
	}
	_, _ = fmt.Fprintf(table, "%s is valid.\n", path)
	return table.Flush()
}
