#!/usr/bin/env bash
# The highest rate of a mixed day that keeps p99 under --slo (50ms): doubled until the limit is broken, then by
# bisection. --rate is where it begins, --duration how long each try lasts.
#
#   loadtest/max-rate.sh [--target URL …] [--rate 200] [--duration 5s] [--slo 50ms] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" max-rate "$@"
