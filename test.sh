#!/usr/bin/env bash
# Runs every test of the project, as the README says:
#
#   ./test.sh            all tests with the race detector, the proof without it, those of deploy and of the Cognigy
#                        Extension, each fuzz target for a few seconds
#   ./test.sh extension  the tests of the Extension alone
#   ./test.sh fuzz       the fuzz targets alone; FUZZTIME=2m says how long each (5s by default)
#
# A fresh Debian or Ubuntu needs git, curl and Go for it: all that is missing comes through apt-get. The tests
# start redis-servers of their own on free ports, so none has to run, and one that runs is left alone.
set -euo pipefail
cd "$(dirname "$0")"
. .ci/packages.sh

export CGO_ENABLED=1 # for -race
fuzztime=${FUZZTIME:-5s}
proof=^TestEveryInterleaving # the tests of proof, as -run and -skip take them
step="arguments" # what the closing line blames
scratch=$(mktemp -d)
: >"$scratch/why" # the last lines of a failure

finish() {
  local status=$?
  wait # for what runs beside
  release_services
  if [ $status = 0 ]; then
    echo "test.sh: passed in $SECONDS s"
  else
    sed 's/^/  /' "$scratch/why"
    echo "test.sh: FAILED ($step) after $SECONDS s"
  fi
  rm -rf "$scratch"
}
trap finish EXIT

# go_test shows what go test says, and keeps for the last lines which tests failed, with the end of their output: beside
# so many packages that passed nobody would find it.
go_test() {
  go test "$@" 2>&1 | tee "$scratch/said" && return
  {
    grep -vE '^(ok|\?|go: downloading) ' "$scratch/said" | tail -n 40
    grep -E '^ *--- FAIL|^panic: |^WARNING: DATA RACE|^FAIL.*/' "$scratch/said" | tail -n 20
  } >"$scratch/why"
  return 1
}

# provide brings what the tests need beside Go, and leaves a machine alone that has it.
provide() {
  step="what the tests need"
  command -v go >/dev/null || { echo "Go is missing: install the version that go.mod names, or a newer one."; exit 1; }

  local missing=()
  command -v redis-server >/dev/null || missing+=(redis-server)
  command -v promtool >/dev/null || missing+=(prometheus)
  command -v chromium >/dev/null || missing+=(chromium)
  command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing+=(nginx)
  command -v systemd-analyze >/dev/null || missing+=(systemd)
  # The race detector needs cgo, so a C compiler and the C library's headers. Trying it is the only sure test.
  # shellcheck disable=SC2046 # CC may carry flags
  echo '#include <stdlib.h>' | $(go env CC) -E -x c - >/dev/null 2>&1 || missing+=(gcc libc6-dev)
  [ ${#missing[@]} -gt 0 ] || return 0

  echo "test.sh is about to install: ${missing[*]}"
  echo "  (redis-server: most tests run on a real one as well; gcc and libc6-dev: go test -race needs cgo;"
  echo "  prometheus: its promtool tests the metrics and the alerts; chromium: the dashboard is tested in it;"
  echo "  nginx: a load test and that of deploy/nginx.conf; systemd: it checks the unit)"
  command -v apt-get >/dev/null || by_hand "this machine has no apt-get"
  become_root || by_hand "you are not root, and sudo is missing or wants a password"
  install "${missing[@]}" >"$scratch/apt.log" 2>&1 ||
    { tail -n 20 "$scratch/apt.log"; by_hand "apt-get did not succeed"; }
}

# provide_node brings Node.js and npm, for the Cognigy Extension.
provide_node() {
  step="what the Extension's tests need"
  local missing=()
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  command -v openssl >/dev/null || missing+=(openssl)
  if [ ${#missing[@]} -gt 0 ]; then
    echo "test.sh is about to install: ${missing[*]} (for the tests of the Cognigy Extension)"
    command -v apt-get >/dev/null || by_hand "this machine has no apt-get"
    become_root || by_hand "you are not root, and sudo is missing or wants a password"
    install "${missing[@]}" >"$scratch/apt.log" 2>&1 ||
      { tail -n 20 "$scratch/apt.log"; by_hand "apt-get did not succeed"; }
  fi
  node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
    by_hand "Node.js is too old here: $(node --version)"
}

by_hand() {
  echo "Cannot install it: $1."
  echo "Please install by hand: redis-server (6.2 or newer), a C compiler with the C library's headers, Node.js (18 or"
  echo "newer), npm, openssl, promtool, chromium, nginx and systemd-analyze."
  exit 1
}

race() {
  step="go test -race"
  echo "== go test -race ./..."
  # -count=1: yesterday's pass from the cache says nothing about a race, nor about another redis-server.
  # Most tests wait for leases and timeouts: more of them run at a time than there are cores, the longest packages
  # first.
  go_test -race -count=1 -p $(($(nproc) + 1)) -parallel $((3 * $(nproc))) -timeout 12m -skip "$proof" \
    ./internal/gate ./internal/e2e ./...
  # The comparison is a module of its own; its peers have no tests, and are not built for this.
  (cd bench && go_test -race -count=1 -timeout 12m . ./load)
}

# proof goes through every interleaving. It computes all the time, and takes five times as long with the race detector.
# The code of the gate that it drives is driven with the race detector by the gate's other tests.
proof() {
  step="the proof"
  echo "== go test -run $proof ./internal/gate"
  go_test -count=1 -timeout 12m -run "$proof" ./internal/gate
}

# deploy tests the folder deploy, a module of its own: its libraries are not the gateway's.
deploy() {
  step="the tests of deploy"
  echo "== go test in deploy"
  (cd deploy && go test -count=1 -timeout 12m .)
}

extension() {
  step="the Cognigy Extension"
  echo "== the Cognigy Extension (deploy/cognigy-extension)"
  (cd deploy/cognigy-extension && npm ci && npm test)
}

fuzz() {
  step="looking for fuzz targets"
  local targets package name found=0
  # Out of the sources, as "./handler FuzzDecode": go test -list would link the tests of all packages once more.
  targets=$(grep -roE '^func Fuzz\w+' --include='*_test.go' . | sed -E 's|^(.*)/[^/]+:func |\1 |' | sort)
  while read -r package name; do
    [ -n "$name" ] || continue
    step="$name in $package"
    echo "== fuzz $name for $fuzztime ($package)"
    fuzz_one "$package" "$name"
    found=$((found + 1))
  done <<<"$targets"
  echo "$found fuzz targets found nothing"
}

# fuzz_one tries again when the time was up and Go took its own deadline for a failure (golang/go#75804, until Go 1.27).
# A finding of ours is another message, and one that was written to testdata/fuzz fails the next try at once.
fuzz_one() {
  local try
  for try in 1 2 3; do
    if go test -run '^$' -fuzz "^$2\$" -fuzztime "$fuzztime" "$1" </dev/null >"$scratch/fuzz.log" 2>&1; then
      return 0
    fi
    grep -qx ' *context deadline exceeded' "$scratch/fuzz.log" || break
    echo "   out of time in mid-run (a known fault of Go's fuzzer), try $try of 3"
  done
  cat "$scratch/fuzz.log"
  return 1
}

# beside runs a step while others run: it waits most of its time. told shows what it said, and fails if it has failed.
beside() { "$1" >"$scratch/$1.log" 2>&1 & beside[$1]=$!; }
told() {
  local status=0
  wait "${beside[$1]}" || status=$?
  step="$1"
  cat "$scratch/$1.log"
  return $status
}
declare -A beside

case "$*" in
  "") provide; provide_node; beside deploy; beside extension; race; proof; told deploy; told extension; fuzz ;;
  extension) provide; provide_node; extension ;;
  fuzz) provide; fuzz ;;
  *) sed -n '2,7p' "$0"; exit 2 ;;
esac
