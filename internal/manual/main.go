// The manual program writes the files that a package installs beside the program: the manual page oncegate.1, and
// completions for bash, zsh and fish. It makes them from the commands and the settings themselves, so that they cannot
// be out of date:
//
//	go run ./internal/manual FOLDER
//
// The libraries that do this for kong have had no release since 2023, and put their code into the program.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/oncegate/oncegate/internal/config"
)

// writers has the functions that write the files, by file name.
var writers = map[string]func(*kong.Application) string{
	"oncegate.1":    page,
	"oncegate.bash": bash,
	"_oncegate":     zsh, // the name under which zsh looks for it
	"oncegate.fish": fish,
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "want the folder to write to")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder string) error {
	model, err := config.Model()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("folder of the manual: %w", err)
	}
	for name, text := range writers {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text(model)), 0o644); err != nil {
			return fmt.Errorf("part of the manual: %w", err)
		}
	}
	return nil
}

// shown returns the flags that --help shows.
func shown(flags []*kong.Flag) (visible []*kong.Flag) {
	for _, flag := range flags {
		if !flag.Hidden {
			visible = append(visible, flag)
		}
	}
	return visible
}

// namesFile reports whether a flag's value is the path of a file.
func namesFile(flag *kong.Flag) bool { return flag.PlaceHolder == "FILE" }

// forms returns a flag as it is typed: a negatable one in both its forms.
func forms(flag *kong.Flag) []string {
	if flag.Tag.Negatable != "" {
		return []string{"--" + flag.Name, "--no-" + flag.Name}
	}
	return []string{"--" + flag.Name}
}
