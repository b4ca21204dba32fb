# shellcheck shell=bash
# Functions that install Debian packages for the tests, sourced by test.sh and engines.sh. A script that uses it calls
# release_services when it ends, however it ends.

guard="" # the file that keeps apt from starting services, while it is there

as_root=()
become_root() {
  [ "$(id -u)" != 0 ] || return 0
  as_root=(sudo -n)
  sudo -n true 2>/dev/null
}

# install is called where set -e does not hold, hence the chain.
install() {
  hold_services &&
    "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@" &&
    release_services &&
    leave_disabled "$@"
}

# Debian starts a service as soon as it is installed, unless this file says no. Somebody else's is left as it is.
hold_services() {
  local policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || return 0
  guard=$policy
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy && "${as_root[@]}" chmod 755 $policy
}

release_services() {
  [ -z "$guard" ] || "${as_root[@]}" rm -f "$guard"
  guard=""
}

# A service that was installed for the tests does not come up with the machine either.
leave_disabled() {
  local service
  for service in redis-server nginx valkey-server prometheus; do
    case " $* " in *" $service "*) "${as_root[@]}" update-rc.d "$service" disable || return 1 ;; esac
  done
}
