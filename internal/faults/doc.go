// Package faults has only tests: replicas of the built program, a Redis, callers and a backend, with a nemesis that
// breaks what it can, and a checker that reads in the recorded history whether the promises of the README held all the
// same. docs/faults.md says what is injected, what is checked, and how to read a failure.
package faults
