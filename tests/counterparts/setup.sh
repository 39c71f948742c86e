#!/usr/bin/env bash
# Installs what the tests in this directory meet: libmodbus, mbpoll and tshark from the distribution, and two packages
# from npm.
# The tests run it by themselves when something is missing. It does nothing where all is there.
# `setup.sh libmodbus` installs only that: the benchmarks need no more.
set -eu
cd "$(dirname "$0")"

has_libmodbus() {
    echo '#include <modbus/modbus.h>' | "${CC:-gcc}" -E -o /dev/null - 2>/dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n -- "$@"
    fi
}

needed=("${CC:-gcc}")
packages=(libmodbus-dev)
if [ "${1:-all}" = all ]; then
    needed+=(node npm)
    packages+=(mbpoll tshark)
fi

for program in "${needed[@]}"; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is not installed: install it by the means of your system" >&2
        exit 1
    fi
done

has_all() {
    has_libmodbus || return 1
    [ "${#packages[@]}" = 1 ] || { command -v mbpoll && command -v tshark; } >/dev/null
}

if ! has_all; then
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}")
    if ! command -v apt-get >/dev/null; then
        echo "${packages[*]}: not all installed, and there is no apt-get to do it with" >&2
        exit 1
    fi
    # A fresh machine has no package lists yet.
    as_root "${install[@]}" || { as_root apt-get update -q && as_root "${install[@]}"; } || true
    if ! has_all; then
        echo "${packages[*]}: could not all be installed: as root, try: ${install[*]}" >&2
        exit 1
    fi
fi

[ "${1:-all}" = all ] || exit 0

# npm notes in node_modules what it has installed; it is newer than the list of what is wanted, or it is made anew.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --omit=optional --ignore-scripts --no-audit --no-fund
fi
