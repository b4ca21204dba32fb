#!/usr/bin/env bash
# Plays a scenario as `go run ./loadtest` does, from any directory, and hands on its exit status: 1 for a promise that
# was not kept, 2 for no verdict. A relative --out is one of the repository.
#
#   loadtest/run.sh SCENARIO [parameters]
set -euo pipefail
cd "$(dirname "$0")/.."
go build -o loadtest/ ./loadtest
exec loadtest/loadtest "$@"
