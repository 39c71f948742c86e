#!/usr/bin/env bash
# Installs what the tests in this directory drive the page with: Chromium from the distribution, and Playwright's core
# from npm, which brings no browser of its own.
# The tests run it by themselves when something is missing. It does nothing where all is there.
set -eu
cd "$(dirname "$0")"

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n -- "$@"
    fi
}

for program in node npm; do
    if ! command -v "$program" >/dev/null; then
        echo "$program is not installed: install it by the means of your system" >&2
        exit 1
    fi
done

if ! command -v chromium >/dev/null; then
    install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core)
    if ! command -v apt-get >/dev/null; then
        echo "chromium is not installed, and there is no apt-get to do it with" >&2
        exit 1
    fi
    # A fresh machine has no package lists yet.
    as_root "${install[@]}" || { as_root apt-get update -q && as_root "${install[@]}"; } || true
    if ! command -v chromium >/dev/null; then
        echo "chromium could not be installed: as root, try: ${install[*]}" >&2
        exit 1
    fi
fi

# npm notes in node_modules what it has installed; it is newer than the list of what is wanted, or it is made anew.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
    npm ci --ignore-scripts --no-audit --no-fund
fi
