#!/usr/bin/env bash
# Installs those Debian packages of the names given that are missing. Nothing else on the machine changes:
# the services that come with them are neither started nor left enabled.
# usage: tools/apt.sh PACKAGE…
set -euo pipefail
# shellcheck source=tools/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

WHAT="Debian packages"
POLICY=/usr/sbin/policy-rc.d
MARK="# Timelock, for the time of an installation: tools/apt.sh removes this file when it is done."
CLUSTERS=/etc/postgresql-common/createcluster.conf
UNWANTED=(docker-registry postgresql)
APT=(apt-get -q -y -o APT::Update::Error-Mode=any -o Acquire::Retries=2 -o Acquire::http::Timeout=60
    -o DPkg::Lock::Timeout=60 -o Dpkg::Options::=--force-confold)
export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 LC_ALL=C.UTF-8

main() {
    missing "$@"
    [ "${#MISSING[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "$WHAT" "this machine has no apt-get" "Timelock runs on Debian 12 or newer; elsewhere install: ${MISSING[*]}"
    [ "$(id -u)" -eq 0 ] || fail "$WHAT" "not root, and missing: ${MISSING[*]}" "Run the same command as root, or: sudo apt-get install ${MISSING[*]}"
    locked /run/lock/timelock-apt.lock 1800
    say "Debian packages: ${MISSING[*]} (a minute or two)"
    need_disk "$WHAT" 1024 /usr
    refresh_lists
    install_quietly
}

# Sets MISSING to the names that are not installed.
missing() {
    local have
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p') || true
    mapfile -t MISSING < <(comm -23 <(printf '%s\n' "$@" | sort -u) <(sort -u <<<"$have"))
}

# Package lists are fetched only where they do not know a package, or are so old that they name files which are gone.
refresh_lists() {
    local known
    known=$(apt-cache policy "${MISSING[@]}" 2>/dev/null | grep -c 'Candidate: [^(]') || true
    if [ "$known" -lt "${#MISSING[@]}" ] || [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -7 -print -quit)" ]; then
        logged apt "$WHAT" 600 "${APT[@]}" update
    fi
}

install_quietly() {
    local unit fresh=()
    for unit in "${UNWANTED[@]}"; do
        [ -n "$(unit_file "$unit")" ] || fresh+=("$unit")
    done
    hold_services
    [ -e "$CLUSTERS" ] || [[ " ${MISSING[*]} " != *" postgresql "* ]] || no_cluster
    logged apt "$WHAT" 1500 "${APT[@]}" install --no-install-recommends "${MISSING[@]}"
    release_services
    for unit in "${fresh[@]}"; do
        [ -z "$(unit_file "$unit")" ] || switch_off "$unit"
    done
}

unit_file() { find /lib/systemd/system /usr/lib/systemd/system -maxdepth 1 -name "$1.service" -print -quit 2>/dev/null; }

# Debian asks policy-rc.d before it starts a service. A machine's own policy is left alone (switch_off comes after it).
hold_services() {
    if [ -e "$POLICY" ] && ! grep -qF "$MARK" "$POLICY"; then return; fi # ours only if a run was killed: taken over
    trap release_services EXIT
    printf '#!/bin/sh\n%s\n[ ! -d /proc/%s ] || exit 101 # no longer than it runs\n' "$MARK" "$$" >"$POLICY"
    chmod 755 "$POLICY"
}

release_services() {
    if [ -e "$POLICY" ] && grep -qF "$MARK" "$POLICY"; then rm -f "$POLICY"; fi
}

# The package would make a cluster of its own, which nobody asked for.
no_cluster() {
    mkdir -p "$(dirname "$CLUSTERS")"
    printf "# Written by Timelock, whose tests make clusters of their own; remove it if you want Debian's default cluster.\ncreate_main_cluster = false\n" >"$CLUSTERS"
}

switch_off() {
    if command -v systemctl >/dev/null && systemctl disable --now "$1.service" >>"$SETUP/apt.log" 2>&1; then return; fi
    update-rc.d "$1" disable >>"$SETUP/apt.log" 2>&1 || say "could not switch off the service $1: systemctl disable --now $1"
}

main "$@"
