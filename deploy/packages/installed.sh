#!/bin/sh
# After an installation or an upgrade, by dpkg ("configure") or rpm. The service is not started before somebody has said
# where Redis and the backend are; one that runs goes on with the new program.
set -e
if ! getent passwd oncegate >/dev/null; then
  useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin oncegate
fi
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart oncegate.service
fi
