// Package faults contains only tests. They run replicas of the built program with a Redis, callers and a backend. A
// nemesis breaks what it can, and a checker reads the recorded history and says whether the promises of the README held
// all the same. docs/faults.md says what is injected, what is checked, and how to read a failure.
package faults
