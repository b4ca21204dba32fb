package command

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oncegate/oncegate/internal/config"
)

// TestEveryCommandOfTheCommandLineDoesSomething: a command that was added but not wired must not do the work of another
// one.
func TestEveryCommandOfTheCommandLineDoesSomething(t *testing.T) {
	commands := 0
	for field := range reflect.TypeFor[config.CommandLine]().Fields() {
		_, is := field.Tag.Lookup("cmd")
		if !is || slices.Contains([]string{"Serve", "Demo", "Top"}, field.Name) { // main does these
			continue
		}
		commands++
		if a := actions[cmp.Or(field.Tag.Get("name"), strings.ToLower(field.Name))]; a.do == nil {
			t.Errorf("%s does nothing", field.Name)
		}
	}
	if commands != len(actions) || commands < 8 {
		t.Errorf("%d commands, and %d actions", commands, len(actions))
	}
}
