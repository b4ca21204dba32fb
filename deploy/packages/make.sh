#!/usr/bin/env bash
# Makes a deb and an rpm of a built program:
#
#   deploy/packages/make.sh VERSION ARCH FOLDER TARGET
#
# FOLDER holds the program oncegate and what ./internal/manual wrote, TARGET gets the packages. SOURCE_DATE_EPOCH is the
# time of all files in them.
set -euo pipefail
cd "$(dirname "$0")/../.."
export VERSION=$1 ARCH=$2 FOLDER=$3
gzip -9 --no-name --force --keep "$FOLDER/oncegate.1"
for packager in deb rpm; do
  "$(go -C deploy tool -n nfpm)" package --config deploy/packages/nfpm.yaml --packager $packager \
    --target "$4/oncegate_${VERSION#v}_$ARCH.$packager"
done
