#!/usr/bin/env bash
# One webhook, again and again, as when a proxy or a flow repeats itself without end: one execution, and its answer for
# every delivery.
#
#   loadtest/storm.sh [--target URL …] [--rate 2000] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" storm "$@"
