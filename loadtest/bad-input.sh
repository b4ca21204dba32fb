#!/usr/bin/env bash
# One body in five is malformed, in one of a dozen ways. Each of those gets a 400, and no other webhook suffers.
#
#   loadtest/bad-input.sh [--target URL …] [--rate 1000] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" bad-input "$@"
