#!/usr/bin/env bash
# Each webhook is sent again 1 to 5 times, after 50 ms, 100 ms, 200 ms, … with a jitter of half of that up and down, as
# proxies and flows do, whether or not the first delivery has been answered.
#
#   loadtest/retries.sh [--target URL …] [--rate 1000] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" retries "$@"
