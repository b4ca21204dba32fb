#!/usr/bin/env bash
# A mixed day for an hour. See in the report whether latency and memory level off.
#
#   loadtest/soak.sh [--target URL …] [--rate 500] [--duration 1h] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" soak "$@"
