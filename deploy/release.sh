#!/usr/bin/env bash
# Builds what a release consists of, out of the last commit (not of what was changed since), into a folder:
#
#   deploy/release.sh [FOLDER]     dist by default
#
# archives of the program for six platforms, with its manual page and completions · deb and rpm · an SBOM (CycloneDX) ·
# SHA256SUMS. Two runs on one commit with one Go make the same bytes.
# It needs git, Go, and tar and gzip of GNU.
set -euo pipefail
umask 022 # the rights of all files are those that everybody gets
cd "$(dirname "$0")/.."
mkdir -p "${1:-dist}"
dist=$(cd "${1:-dist}" && pwd)
if [ -n "$(ls -A "$dist")" ]; then
  echo "release.sh: $dist is not empty"
  exit 2
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A clone has no file that no commit has, and Go knows its version, commit and date.
git clone --quiet . "$scratch/source"
cd "$scratch/source"
export GOFLAGS="" CGO_ENABLED=0
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH # nfpm's name for the time of all files

# build GOOS GOARCH builds the program for a platform, at the path that it prints.
build() {
  local program=$scratch/$1-$2/oncegate
  [ "$1" != windows ] || program=$program.exe
  GOOS=$1 GOARCH=$2 go build -trimpath -buildvcs=true -ldflags "-s -w" -o "$program" .
  echo "$program"
}

# archive NAME FOLDER makes a tar.gz that tells nothing of who made it, or when.
archive() {
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --mode=u=rwX,go=rX \
    --directory "$scratch" "$2" | gzip -9 --no-name >"$dist/$1.tar.gz"
}

native=$(build "$(go env GOHOSTOS)" "$(go env GOHOSTARCH)")
VERSION=$("$native" --version | cut -d' ' -f2)
echo "== oncegate $VERSION"
go run -trimpath ./internal/manual "$scratch/manual"

for platform in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do
  os=${platform%/*} arch=${platform#*/}
  echo "== $platform"
  program=$(build "$os" "$arch")
  name=oncegate_${VERSION#v}_${os}_$arch
  mkdir -p "$scratch/$name"
  cp "$program" LICENSE "$scratch"/manual/{oncegate.1,oncegate.bash,_oncegate,oncegate.fish} "$scratch/$name"
  archive "$name" "$name"
  [ "$os" = linux ] || continue
  deploy/packages/make.sh "$VERSION" "$arch" "$scratch/$name" "$dist"
done

# The contents of the program as it was linked: the modules, with their versions and hashes, and Go itself.
"$(go -C deploy tool -n cyclonedx-gomod)" bin -json -noserial -notimestamp -version "$VERSION" \
  -output "$dist/oncegate_${VERSION#v}.cdx.json" "$scratch/linux-amd64/oncegate"

(cd "$dist" && sha256sum -- * >"$scratch/sums" && mv "$scratch/sums" SHA256SUMS)
echo "== $dist"
(cd "$dist" && ls -l)
