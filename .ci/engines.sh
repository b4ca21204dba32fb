#!/usr/bin/env bash
# Runs the tests that talk to Redis on other engines beside Debian's redis-server:
#
#   .ci/engines.sh              on redis-server, then on Valkey; what is missing is said, and installed if you say yes
#   .ci/engines.sh --install    the same, without the question
#
# Valkey comes from bookworm-backports. That apt line is written by this script alone, never by test.sh, and its
# service is left disabled. Another server, such as one that was built by hand: REDIS_SERVER=/opt/redis-8/redis-server
# REDIS_CLI=… go test …
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/packages.sh

scratch=$(mktemp -d)
trap 'release_services; rm -rf "$scratch"' EXIT

backports=/etc/apt/sources.list.d/bookworm-backports.list
# The server that this machine has bookworm from has its backports too.
mirror=$(sed -n 's/^URIs: *//p; s/^deb [^#]*\(http[^ ]*\) bookworm .*/\1/p' \
  /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1)
line="deb $mirror bookworm-backports main"

fail() {
  echo "engines.sh: $1"
  exit 1
}

# provide brings Valkey, where somebody has said yes.
provide() {
  if command -v valkey-server >/dev/null && command -v valkey-cli >/dev/null; then return 0; fi
  echo "Valkey is missing. With your consent this adds the apt line"
  echo "  $line   (to $backports)"
  echo "and installs valkey-server and valkey-tools from there. The service is not started, and left disabled."
  if [ "${1:-}" != --install ]; then
    [ -t 0 ] || fail "nobody is there to ask: run .ci/engines.sh --install"
    local answer
    read -rp "Install it? [y/N] " answer
    [ "$answer" = y ] || fail "Valkey was not installed"
  fi
  grep -qs "^VERSION_CODENAME=bookworm$" /etc/os-release ||
    fail "this is not Debian bookworm: install valkey-server by hand"
  [ -n "$mirror" ] || fail "apt has no source of bookworm: install valkey-server by hand"
  become_root || fail "you are not root, and sudo is missing or wants a password: install valkey-server by hand"
  echo "$line" | "${as_root[@]}" tee "$backports" >/dev/null
  install -t bookworm-backports valkey-server valkey-tools >"$scratch/apt.log" 2>&1 ||
    { tail -n 20 "$scratch/apt.log"; fail "apt-get did not succeed"; }
}

# The packages whose tests start a real server, and of internal/e2e those whose names stand here: its other tests load
# the gateway, not Redis.
packages=(./scripts ./internal/redis ./internal/gate)
whole='Redis|Sentinel|Failover|LostPrimary|EachWay|Tracking|Killed|Processes'

# run tests on one engine: the name of its server, and of its command line.
run() {
  REDIS_SERVER=$(command -v "$1") || fail "$1 is missing: run ./test.sh first"
  REDIS_CLI=$(command -v "$2") || fail "$2 is missing: run ./test.sh first"
  export REDIS_SERVER REDIS_CLI
  echo "== $("$REDIS_SERVER" --version)"
  go test -count=1 -timeout 15m "${packages[@]}"
  go test -count=1 -timeout 15m -run "$whole" ./internal/e2e
}

case "$*" in "" | --install) ;; *) sed -n '2,8p' "$0"; exit 2 ;; esac
provide "$@"
run redis-server redis-cli
run valkey-server valkey-cli
echo "engines.sh: passed in $SECONDS s"
