#!/usr/bin/env bash
# The first answer takes 2 s, and a thousand duplicates arrive meanwhile, every 2 s anew. Targets need logic that slow:
# start them with ECHO_DELAY=2s.
#
#   loadtest/slow-logic.sh [--target URL …] [--rate 500] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" slow-logic "$@"
