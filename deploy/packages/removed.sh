#!/bin/sh
# After the package has gone. dpkg purges: then the user goes too. rpm knows no purge, and the user stays.
set -e
case $1 in remove | purge | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
if [ "$1" = purge ] && getent passwd oncegate >/dev/null; then
  userdel oncegate
fi
