#!/usr/bin/env bash
# Builds the image by its Dockerfile without a container engine, and runs what is in it, as its user, in a chroot.
#
# The Dockerfile's first stage takes golang:1.26 from a registry. Here a Debian with this machine's Go stands in for it,
# so that no registry has to be reached. It needs root, Go, and Debian's packages buildah and mmdebstrap, which it
# installs if they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/packages.sh
scratch=$(mktemp -d)
trap 'release_services; rm -rf "$scratch"' EXIT
[ "$(id -u)" = 0 ] || { echo "docker/test.sh needs root, for a chroot"; exit 2; }
missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v buildah >/dev/null || missing+=(buildah)
[ ${#missing[@]} = 0 ] || install "${missing[@]}" >/dev/null

build() { buildah --storage-driver vfs --root "$scratch/storage" --runroot "$scratch/run" "$@"; }

echo "== the base"
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --variant=minbase --include=ca-certificates "$suite" "$scratch/base.tar"
base=$(build from scratch)
build add "$base" "$scratch/base.tar" / >/dev/null
build copy "$base" "$(go env GOROOT)" /usr/local/go >/dev/null
build config --env PATH=/usr/local/go/bin:/usr/bin:/bin --env GOPATH=/go "$base"
build commit --quiet --rm "$base" docker.io/library/golang:1.26 >/dev/null

# The modules and what Go has built already are this machine's, as a cache mount's would be.
echo "== the image"
build build --quiet --isolation chroot --pull-never --format docker --platform "linux/$(go env GOARCH)" \
  --file deploy/docker/Dockerfile --build-arg VERSION=v0.0.0-test --volume "$(go env GOMODCACHE):/go/pkg/mod" \
  --volume "$(go env GOCACHE):/root/.cache/go-build" --tag oncegate . >/dev/null
build push --quiet oncegate "docker-archive:$scratch/image.tar" 2>/dev/null ||
  build push oncegate "docker-archive:$scratch/image.tar"
gzip --keep "$scratch/image.tar"
build inspect --type image oncegate >"$scratch/image.json"
container=$(build from --pull-never oncegate)
cp -a "$(build mount "$container")" "$scratch/root"

echo "== what is in it"
ROOT=$scratch/root INSPECTED=$scratch/image.json go -C deploy test -count=1 ./docker
echo "docker/test.sh: $(stat --format %s "$scratch/image.tar.gz") bytes to pull," \
  "$(du -sb "$scratch/root" | cut -f1) unpacked"
