#!/usr/bin/env bash
# Installs the Debian packages of the contenders that are not written in Go, so that none is left out of the comparison:
#
#   bench/install.sh              says what is missing, and installs it if you say yes
#   bench/install.sh --install    the same, without the question
#
# The services are not started, and left disabled: the comparison starts each contender itself.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/packages.sh

scratch=$(mktemp -d)
trap 'release_services; rm -rf "$scratch"' EXIT

fail() {
  echo "install.sh: $1"
  exit 1
}

wanted=(redis-server
  nginx libnginx-mod-http-lua lua-nginx-redis lua-nginx-string lua-cjson
  python3-fastapi python3-uvicorn python3-redis)
missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || { echo "install.sh: nothing is missing"; exit 0; }

echo "Missing are: ${missing[*]}"
if [ "${1:-}" != --install ]; then
  [ -t 0 ] || fail "nobody is there to ask: run bench/install.sh --install"
  read -rp "Install them with apt-get? [y/N] " answer
  [ "$answer" = y ] || fail "nothing was installed"
fi
become_root || fail "you are not root, and sudo is missing or wants a password: install them by hand"
install "${missing[@]}" >"$scratch/apt.log" 2>&1 || { tail -n 20 "$scratch/apt.log"; fail "apt-get did not succeed"; }
