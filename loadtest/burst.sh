#!/usr/bin/env bash
# Quiet for 4 s, then 20 times the rate for 1 s, again and again. Each webhook comes twice.
#
#   loadtest/burst.sh [--target URL …] [--rate 100] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" burst "$@"
