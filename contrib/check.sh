#!/bin/sh
# Checks what is in this directory with the tools that are there, and says which are not.
#
#     contrib/check.sh
set -eu
cd "$(dirname "$0")"
missing=0

have() {
    command -v "$1" >/dev/null 2>&1 && return 0
    echo "$1 is not installed: $2 is not checked"
    missing=1
    return 1
}

if have promtool "prometheus/"; then
    promtool check rules prometheus/lodestore.rules.yml
    promtool test rules prometheus/lodestore.test.yml
fi
if have systemd-analyze "systemd/"; then
    # The program need not be installed for that.
    copy=$(mktemp -d)
    sed 's#/usr/bin/lodestore#/bin/true#' systemd/lodestore.service >"$copy/lodestore.service"
    systemd-analyze verify --man=no "$copy/lodestore.service"
    # Exposure 0 to 10: the limit keeps options from being lost.
    systemd-analyze security --offline=true --threshold=20 "$copy/lodestore.service" >/dev/null
    rm -r "$copy"
    echo "systemd/lodestore.service is valid"
fi
if have shellcheck "debian/"; then
    shellcheck check.sh debian/check.sh debian/postinst debian/prerm debian/postrm
    echo "the scripts are valid"
fi
if have python3 "grafana/"; then
    python3 -m json.tool grafana/lodestore.json >/dev/null
    echo "grafana/lodestore.json is JSON"
fi
exit "$missing"
