// Package faults contains only tests. They run replicas of the built program with a Redis, callers and a backend. A
// nemesis breaks things at random, and a checker reads the recorded history and says whether the promises of the README
// held nevertheless. docs/faults.md says which faults are injected, what is checked, and how to read a failure.
package faults
