#!/usr/bin/env bash
# Installs, upgrades, removes and purges the deb and the rpm in a Debian of its own (a chroot), and looks what each step
# leaves. It needs root, Go, and Debian's packages mmdebstrap and rpm, which it installs if they are missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. .ci/packages.sh
scratch=$(mktemp -d)
root=$scratch/root

finish() {
  local status=$?
  release_services
  [ ! -e "$root/proc/version" ] || umount "$root/proc"
  rm -rf "$scratch"
  [ $status = 0 ] || echo "packages/test.sh: FAILED: $step"
}
trap finish EXIT

step="what it needs"
[ "$(id -u)" = 0 ] || { echo "packages/test.sh needs root, for a chroot"; exit 2; }
missing=()
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v rpm >/dev/null || missing+=(rpm)
[ ${#missing[@]} = 0 ] || install "${missing[@]}" >/dev/null

step="two versions of the packages"
mkdir -p "$scratch/built" "$scratch/1" "$scratch/2"
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$scratch/built/oncegate" .
go run ./internal/manual "$scratch/built"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
arch=$(go env GOARCH)
deploy/packages/make.sh v1.0.0 "$arch" "$scratch/built" "$scratch/1" >/dev/null
deploy/packages/make.sh v1.1.0 "$arch" "$scratch/built" "$scratch/2" >/dev/null

step="a Debian to install them in"
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --variant=minbase --include=zsh,fish,man-db,bash-completion "$suite" "$root"
mount -t proc proc "$root/proc"
# A systemd that writes down what it is asked.
mkdir -p "$root/run/systemd/system"
printf '#!/bin/sh\necho "$*" >>/asked\n' >"$root/usr/bin/systemctl"
chmod 755 "$root/usr/bin/systemctl"
mkdir -p "$root/usr/share/zsh/site-functions" # Fedora has it

in_root() { chroot "$root" "$@"; }

# rpm_root is rpm, without Debian's advice not to use it.
rpm_root() { rpm --root "$root" --nodeps "$@" 2> >(grep -v '^rpm: ' >&2); }

# expect DESCRIPTION COMMAND… wants a command to succeed.
expect() {
  step=$1
  "${@:2}" || { echo "FAILED: $step"; exit 1; }
}

# asked WORDS wants systemd to have been asked that since the last time, and nothing else.
asked() {
  step="systemd is asked: $1"
  local said
  said=$(paste -sd ',' "$root/asked" 2>/dev/null || true)
  rm -f "$root/asked"
  [ "$said" = "$1" ] || { echo "FAILED: $step, and not: $said"; exit 1; }
}

# tree lists all files but those in which package managers and useradd keep what they know.
tree() {
  find "$root" -xdev \( -path "$root/proc" -o -path "$root/var/lib/dpkg" -o -path "$root/var/lib/rpm" -o \
    -path "$root/var/log" -o -path "$root/var/cache" -o -path "$root/root" -o -path "$root/tmp" \) -prune -o -print |
    grep -vE '/etc/((passwd|group|g?shadow|sub[ug]id)-?|\.pwd\.lock)$' | sort
}

# installed looks at what both kinds of package bring.
installed() {
  expect "the user" in_root getent passwd oncegate >/dev/null
  expect "the program starts" in_root oncegate --version
  expect "its settings are valid for the user" in_root su -s /bin/sh oncegate -c \
    "oncegate check /etc/oncegate/oncegate.yaml" >/dev/null
  expect "the unit" test -f "$root/usr/lib/systemd/system/oncegate.service"
  expect "the manual page" in_root sh -c "man oncegate | grep -q REDIS_PATIENCE"
  expect "fish completes" in_root fish -c "complete -C 'oncegate inspe'" | grep -q inspect
  expect "bash completes" in_root bash -c '. /usr/share/bash-completion/bash_completion
    _completion_loader oncegate; COMP_WORDS=(oncegate inspe) COMP_CWORD=1; _oncegate; [ "${COMPREPLY[*]}" = inspect ]'
  expect "zsh completes" in_root zsh -c 'fpath+=(/usr/share/zsh/site-functions) # Fedora has it there
    autoload -Uz compinit && compinit -D -u && [ "$_comps[oncegate]" = _oncegate ] && autoload +X _oncegate'
}

tree >"$scratch/before"
for kind in deb rpm; do
  echo "== $kind"
  cp "$scratch"/1/*.$kind "$root/tmp/old.$kind"
  cp "$scratch"/2/*.$kind "$root/tmp/new.$kind"
  if [ $kind = deb ]; then
    expect "it installs" in_root dpkg -i /tmp/old.deb >/dev/null
  else
    expect "it installs" rpm_root -i "$root/tmp/old.rpm"
  fi
  asked "daemon-reload,try-restart oncegate.service"
  installed
  echo "lock_ttl: 30s # a person's own" >>"$root/etc/oncegate/oncegate.yaml"

  if [ $kind = deb ]; then
    expect "it upgrades" in_root dpkg -i /tmp/new.deb >/dev/null
    expect "the new version" test "$(in_root dpkg-query -W -f '${Version}' oncegate)" = 1.1.0
  else
    expect "it upgrades" rpm_root -U "$root/tmp/new.rpm"
    expect "the new version" test "$(rpm --root "$root" -q --qf '%{VERSION}' oncegate)" = 1.1.0
  fi
  asked "daemon-reload,try-restart oncegate.service"
  installed
  expect "the settings are kept" grep -q "a person's own" "$root/etc/oncegate/oncegate.yaml"

  if [ $kind = deb ]; then
    expect "it is removed" in_root dpkg -r oncegate >/dev/null
    asked "disable --now oncegate.service,daemon-reload"
    expect "the settings outlive it" grep -q "a person's own" "$root/etc/oncegate/oncegate.yaml"
    expect "it is purged" in_root dpkg -P oncegate >/dev/null
    asked "daemon-reload"
    expect "the user is gone" test -z "$(in_root getent passwd oncegate)"
  else
    expect "it is removed" rpm_root -e oncegate
    asked "disable --now oncegate.service,daemon-reload"
    expect "the settings outlive it" grep -q "a person's own" "$root/etc/oncegate/oncegate.yaml.rpmsave"
    rm -r "$root/etc/oncegate"
  fi
  expect "the program is gone" test ! -e "$root/usr/bin/oncegate"
  tree >"$scratch/after"
  expect "nothing is left" diff "$scratch/before" "$scratch/after"
done
echo "packages/test.sh: both packages install, upgrade, and go, and leave nothing"
