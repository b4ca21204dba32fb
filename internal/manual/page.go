package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// page returns the manual page, in the man macros of roff.
func page(model *kong.Application) string {
	var p strings.Builder
	fmt.Fprintf(&p, ".TH ONCEGATE 1\n.SH NAME\noncegate \\- %s\n", roff(model.Help))
	p.WriteString(".SH SYNOPSIS\n.B oncegate\n[\\fIcommand\\fR] [\\fIarguments\\fR] [\\fIflags\\fR]\n")
	p.WriteString(".SH DESCRIPTION\n" + roff("oncegate stands in front of the business logic of a webhook. Of all "+
		"deliveries of one webhook, on however many replicas, one is executed, and every other gets its result. "+
		"Without a command it runs the gateway.") + "\n")
	p.WriteString(".PP\n" + roff("Each setting is a flag and an environment variable, and may stand in the file of "+
		"CONFIG. A flag wins over a variable, and a variable over the file.") + "\n")
	p.WriteString(".SH COMMANDS\n")
	for _, command := range model.Children {
		fmt.Fprintf(&p, ".SS oncegate %s\n%s\n", roff(command.Name+arguments(command)), roff(command.Help))
		for _, argument := range command.Positional {
			fmt.Fprintf(&p, ".TP\n\\fI%s\\fR\n%s\n", roff(argument.Name), roff(argument.Help))
		}
		options(&p, command.Flags)
	}
	p.WriteString(".SH FLAGS AND SETTINGS\n")
	group := ""
	for _, flag := range shown(model.Flags) {
		if flag.Group != nil && flag.Group.Key != group {
			group = flag.Group.Key
			fmt.Fprintf(&p, ".SS %s\n", roff(flag.Group.Title))
		}
		options(&p, []*kong.Flag{flag})
	}
	p.WriteString(".SH EXIT STATUS\n" + roff("0 if all went well, 2 for a mistake in the command line or the settings, 1 "+
		"for every other failure.") + "\n")
	p.WriteString(".SH SIGNALS\n" + roff("SIGTERM and SIGINT: the gateway drains (DRAIN_DELAY), ends what runs "+
		"(SHUTDOWN_TIMEOUT) and exits. SIGHUP: it reads its files of settings again.") + "\n")
	p.WriteString(".SH SEE ALSO\nhttps://github.com/oncegate/oncegate\n")
	return p.String()
}

// arguments returns a command's arguments as its synopsis has them.
func arguments(command *kong.Command) (words string) {
	for _, argument := range command.Positional {
		if argument.Required {
			words += " " + argument.Name
		} else {
			words += " [" + argument.Name + "]"
		}
	}
	return words
}

func options(p *strings.Builder, flags []*kong.Flag) {
	for _, flag := range shown(flags) {
		fmt.Fprintf(p, ".TP\n\\fB%s\\fR\n%s\n", roff(flag.String()), roff(flag.Help))
	}
}

// roff escapes text: a hyphen would become another sign, and a line that begins with a dot a command.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
