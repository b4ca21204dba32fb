#!/usr/bin/env bash
# A day, made short: a hundred dialogs at a time, each in sequence; 2% of the webhooks are retried, and now and then one
# comes 50 times within 200 ms.
#
#   loadtest/mixed-day.sh [--target URL …] [--rate 1000] [--duration 1m] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" mixed-day "$@"
