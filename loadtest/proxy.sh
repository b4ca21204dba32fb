#!/usr/bin/env bash
# Every webhook is sent once, to an nginx that sends it on after 250 ms or when a replica fails, while replicas are
# killed and started again. The duplicates are the proxy's. It takes the Debian package nginx, and replicas of its own.
#
#   loadtest/proxy.sh [--rate 100] [--duration 30s] [--connections N] [--seed N]
#
# docs/loadtest.md has the rest.
exec "$(dirname "$0")/run.sh" proxy "$@"
