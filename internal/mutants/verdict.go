package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// outcome is what became of a mutant.
type outcome uint8

const (
	killed       outcome = iota // all its tests fail, as they must
	survived                    // one of its tests passes
	doesNotApply                // the code has changed: the list must follow
	doesNotBuild
	saysNothing // one of its tests is missing, is skipped, or also fails without the mutant
)

// verdict is the outcome of a mutant, with the details that a person wants to know.
type verdict struct {
	outcome outcome
	detail  string
	took    time.Duration
}

func (v verdict) String() string {
	words := [...]string{
		killed: "killed by", survived: "SURVIVED", doesNotApply: "DOES NOT APPLY:", doesNotBuild: "DOES NOT BUILD:",
		saysNothing: "ITS TEST SAYS NOTHING:",
	}
	return fmt.Sprintf("%s %s, in %.1f s", words[v.outcome], v.detail, v.took.Seconds())
}

// judge applies a mutant, runs its tests, and undoes it.
func (b *bench) judge(ctx context.Context, m *mutant) (v verdict) {
	began := time.Now()
	defer func() { v.took = time.Since(began) }()
	for _, t := range m.tests {
		if without := b.without[t]; without.why != nil {
			return verdict{outcome: saysNothing, detail: without.why.Error()}
		} else if without.red {
			return verdict{outcome: saysNothing, detail: t.name + " is red without the mutant too"}
		}
	}
	content, err := os.ReadFile(b.path(m.file))
	if err != nil {
		return verdict{outcome: doesNotApply, detail: err.Error()}
	}
	mutated, err := m.apply(string(content))
	if err != nil {
		return verdict{outcome: doesNotApply, detail: err.Error()}
	}
	if err := os.WriteFile(b.path(m.file), []byte(mutated), 0o600); err != nil {
		return verdict{outcome: doesNotApply, detail: err.Error()}
	}
	defer func() {
		if err := os.WriteFile(b.path(m.file), content, 0o600); err != nil {
			v = verdict{outcome: doesNotApply, detail: "it was not taken back: " + err.Error()}
		}
	}()
	return b.tryAll(ctx, m)
}

var brokenOff = verdict{outcome: saysNothing, detail: "broken off"}

// tryAll runs all tests of a mutant that is applied, and expects all of them to fail.
func (b *bench) tryAll(ctx context.Context, m *mutant) verdict {
	built := ""
	var killers []string
	for _, t := range m.tests {
		if built != t.dir {
			err := b.build(ctx, t.dir)
			switch {
			case ctx.Err() != nil:
				return brokenOff
			case err != nil:
				return verdict{outcome: doesNotBuild, detail: err.Error()}
			}
			built = t.dir
		}
		tried := b.try(ctx, t, timesSlower*b.without[t].took+slack)
		switch {
		case ctx.Err() != nil:
			return brokenOff
		case tried.why != nil:
			return verdict{outcome: saysNothing, detail: tried.why.Error()}
		case !tried.red:
			return verdict{outcome: survived, detail: t.name + " in " + t.dir + " is green"}
		}
		killers = append(killers, t.name)
	}
	return verdict{outcome: killed, detail: strings.Join(killers, " and ")}
}
