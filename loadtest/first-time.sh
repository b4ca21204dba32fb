#!/usr/bin/env bash
# Every webhook is another one: the dear way, with an execution and a round trip to Redis for each.
#
#   loadtest/first-time.sh [--target URL …] [--rate 1000] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" first-time "$@"
