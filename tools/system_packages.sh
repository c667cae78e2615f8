#!/usr/bin/env bash
# Installs Debian packages that pip can't bring: system_packages.sh PACKAGES "what goes without them".
# Says what it is about to do first. SYSTEM=0 installs nothing; so does a machine where it may not.
set -uo pipefail
packages=$1 without=$2
if [ "${SYSTEM:-1}" = 0 ]; then
  echo "not installed (SYSTEM=0): $packages. $without" >&2
elif ! command -v apt-get >/dev/null || ! { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
  echo "not installed (no apt-get, or no right to use it): $packages. $without" >&2
else
  echo "installing with apt-get: $packages (make SYSTEM=0 does without)" >&2
  run=; [ "$(id -u)" = 0 ] || run=sudo
  # shellcheck disable=SC2086 # the packages are several words
  $run apt-get update -qq && DEBIAN_FRONTEND=noninteractive $run apt-get install -qq -y --no-install-recommends $packages >/dev/null \
    || echo "not installed: $packages. $without" >&2
fi
