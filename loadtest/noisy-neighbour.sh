#!/usr/bin/env bash
# Two tenants share the replicas. Every webhook of the quiet one is sent once; for half of the time alone, then beside
# the noisy one, which sends ten times as many, each five times at once, and whose backend hangs. The quiet one must not
# feel it. It takes replicas of its own.
#
#   loadtest/noisy-neighbour.sh [--rate 50] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" noisy-neighbour "$@"
