// Package e2e contains only tests. They build the program and run it as processes before a real Redis, a cluster or
// Sentinels, and see it as a caller, a backend or an operator does. Behaviour that can be shown within one process is
// tested beside its code.
package e2e
