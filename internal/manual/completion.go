package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// bash offers the commands, the flags of the typed command, all settings, and files if a flag takes one.
func bash(model *kong.Application) string {
	var commands, files, values []string
	var ofCommand strings.Builder
	kinds := func(flags []*kong.Flag) (words []string) {
		for _, flag := range shown(flags) {
			words = append(words, forms(flag)...)
			switch {
			case namesFile(flag):
				files = append(files, "--"+flag.Name)
			case !flag.IsBool():
				values = append(values, "--"+flag.Name)
			}
		}
		return words
	}
	settings := kinds(model.Flags)
	for _, command := range model.Children {
		commands = append(commands, command.Name)
		if words := kinds(command.Flags); len(words) > 0 {
			fmt.Fprintf(&ofCommand, "    %s) words+=\" %s\" ;;\n", command.Name, strings.Join(words, " "))
		}
	}
	return fmt.Sprintf(`# Completion of oncegate for bash.
_oncegate() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
    %s) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  case $before in
    %s) COMPREPLY=($(compgen -f -- "$word")); return ;;
    %s) return ;;
  esac
  local words="%s"
  case $command in
    "") words+=" %s" ;;
%s  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _oncegate oncegate
`, strings.Join(commands, "|"), alternatives(files), alternatives(values), strings.Join(settings, " "),
		strings.Join(commands, " "), ofCommand.String())
}

// alternatives returns a pattern of case that matches any of the words, each once.
func alternatives(words []string) string {
	seen := make(map[string]bool)
	var once []string
	for _, word := range words {
		if !seen[word] {
			seen[word] = true
			once = append(once, word)
		}
	}
	return strings.Join(once, "|")
}

// zsh offers the same, with a line of help beside each word.
func zsh(model *kong.Application) string {
	var commands, ofCommand strings.Builder
	for _, command := range model.Children {
		fmt.Fprintf(&commands, "    %s\n", quoted(command.Name+":"+command.Help))
		if flags := specs(command.Flags); flags != "" {
			fmt.Fprintf(&ofCommand, "    %s) flags+=(\n%s    ) ;;\n", command.Name, flags)
		}
	}
	return fmt.Sprintf(`#compdef oncegate
# Completion of oncegate for zsh.
_oncegate() {
  local -a commands flags
  commands=(
%s  )
  flags=(
%s  )
  local word command=""
  for word in ${words[2,CURRENT-1]}; do
    if (( ${commands[(I)$word:*]} )); then
      command=$word
      break
    fi
  done
  case $command in
    "") flags+=('1:command:{_describe command commands}') ;;
%s  esac
  _arguments $flags '*:argument:_files'
}
_oncegate "$@"
`, commands.String(), specs(model.Flags), ofCommand.String())
}

// specs returns flags in the form that zsh's _arguments takes.
func specs(flags []*kong.Flag) string {
	var lines strings.Builder
	escaped := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`)
	for _, flag := range shown(flags) {
		value := ":value:"
		switch {
		case flag.IsBool():
			value = ""
		case namesFile(flag):
			value = ":file:_files"
		}
		for _, form := range forms(flag) {
			if value != "" {
				form += "="
			}
			fmt.Fprintf(&lines, "      %s\n", quoted(form+"["+escaped.Replace(flag.Help)+"]"+value))
		}
	}
	return lines.String()
}

// fish offers the same as zsh.
func fish(model *kong.Application) string {
	var lines strings.Builder
	lines.WriteString("# Completion of oncegate for fish.\ncomplete -c oncegate -f\n")
	flags := func(condition string, flags []*kong.Flag) {
		for _, flag := range shown(flags) {
			for _, form := range forms(flag) {
				value := " -x"
				switch {
				case flag.IsBool():
					value = ""
				case namesFile(flag):
					value = " -r -F"
				}
				fmt.Fprintf(&lines, "complete -c oncegate%s -l %s%s -d %s\n", condition, form[2:], value, quoted(flag.Help))
			}
		}
	}
	flags("", model.Flags)
	for _, command := range model.Children {
		fmt.Fprintf(&lines, "complete -c oncegate -n __fish_use_subcommand -a %s -d %s\n", command.Name,
			quoted(command.Help))
		flags(" -n '__fish_seen_subcommand_from "+command.Name+"'", command.Flags)
	}
	return lines.String()
}

// quoted puts text in quotes for any of the three shells.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'" }
