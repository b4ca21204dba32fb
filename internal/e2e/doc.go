// Package e2e has only tests: they build the program and run it as processes, before a real Redis, a cluster or
// Sentinels, and see it as a caller, a backend or an operator does. They look at nothing inside; what can be shown in a
// process is shown beside the code that it is about.
package e2e
