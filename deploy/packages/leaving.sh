#!/bin/sh
# Before the package goes ("remove" by dpkg, 0 by rpm), and not before it is upgraded.
set -e
case $1 in remove | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now oncegate.service
fi
