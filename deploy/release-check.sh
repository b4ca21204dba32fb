#!/usr/bin/env bash
# Makes a release twice, in two folders, and wants the same bytes; then looks at what was made.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

git clone --quiet . "$scratch/a folder of another name"
deploy/release.sh "$scratch/first"
# Another folder, another time zone, other rights of new files.
(umask 077 && TZ=Asia/Tokyo "$scratch/a folder of another name/deploy/release.sh" "$scratch/second" >/dev/null)
diff --recursive --brief "$scratch/first" "$scratch/second"

cd "$scratch/first"
sha256sum --quiet --check SHA256SUMS
tar --extract --gzip --file "$(ls oncegate_*_linux_amd64.tar.gz)"
program=$(ls -d "$PWD"/oncegate_*_linux_amd64)/oncegate
commit=$(git -C "$scratch/a folder of another name" rev-parse HEAD)
"$program" --version | grep --fixed-strings "${commit:0:12}"
if ldd "$program"; then
  echo "the program needs libraries of the system"
  exit 1
fi
sbom=$(ls oncegate_*.cdx.json)
grep --quiet '"bomFormat": "CycloneDX"' "$sbom"
grep --quiet 'pkg:golang/github.com/redis/rueidis@' "$sbom"
if grep 'pkg:golang/github.com/goreleaser' "$sbom"; then
  echo "a tool is in the program"
  exit 1
fi

# go install, from a module proxy that has this commit as its latest version.
cd "$scratch/a folder of another name"
version=v0.0.1-g${commit:0:12} # another one for another commit: Go takes a version for what it was
proxy=$scratch/proxy/github.com/oncegate/oncegate/@v
mkdir -p "$proxy"
git archive --format=zip --prefix="github.com/oncegate/oncegate@$version/" --output "$proxy/$version.zip" HEAD -- . \
  ':!bench' ':!deploy' ':!.ci/tools' # modules of their own
cp go.mod "$proxy/$version.mod"
echo "{\"Version\":\"$version\"}" >"$proxy/$version.info"
echo "$version" >"$proxy/list"
GOBIN=$scratch/bin GOFLAGS=-modcacherw GONOSUMDB=github.com/oncegate \
  GOPROXY="file://$scratch/proxy,$(go env GOPROXY)" go install github.com/oncegate/oncegate@latest
cache=$(go env GOMODCACHE)
rm -rf "$cache/github.com/oncegate" "$cache/cache/download/github.com/oncegate"
"$scratch/bin/oncegate" --version | grep --fixed-strings "oncegate $version"

cd "$scratch/first"
echo "release-check.sh: twice the same $(ls | grep -c '^oncegate_.*[bmnz]$') files"
