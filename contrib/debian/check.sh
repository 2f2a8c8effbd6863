#!/bin/sh
# Installs, uses, upgrades, removes and purges the package in the root directory in which it runs;
# `cargo xtask dist --check` does that in a fresh Debian.
#
#     sh check.sh PACKAGE.deb
set -eu
package=$1

fail() {
    echo "FAILED: $1" >&2
    exit 1
}

# is WHAT EXPECTED FOUND
is() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
}

# Names of the package outside of the records of dpkg.
left() {
    find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /var/lib/dpkg \) -prune -o -name '*lodestore*' -print
}

is "names before" "" "$(left)"
dpkg -i "$package" >/dev/null
is "state" "install ok installed" "$(dpkg-query -W -f '${Status}' lodestore)"
is "data directory" "lodestore lodestore 750" "$(stat -c '%U %G %a' /var/lib/lodestore)"
is "configuration directory" "root lodestore 770" "$(stat -c '%U %G %a' /etc/lodestore)"
is "configuration" "root lodestore 640" "$(stat -c '%U %G %a' /etc/lodestore/lodestore.conf)"
is "conffiles" "/etc/lodestore/lodestore.conf" "$(dpkg-query -W -f '${Conffiles}' lodestore | awk '{print $1}' | grep .)"
is "files that differ from the package" "" "$(dpkg --verify lodestore)"
for file in $(dpkg -L lodestore); do
    [ -e "$file" ] || fail "$file is missing"
done
for page in /usr/share/man/man1/lodestore.1.gz /usr/share/man/man5/lodestore.conf.5.gz; do
    gzip -t "$page"
done
lodestore --version | grep -q ^Lodestore
[ -L /etc/systemd/system/multi-user.target.wants/lodestore.service ] || fail "the service is not enabled"

# As the unit starts it, but without systemd.
serve() {
    setpriv --reuid lodestore --regid lodestore --clear-groups \
        /usr/bin/lodestore /etc/lodestore/lodestore.conf --port 0 --unixsocket /var/lib/lodestore/socket \
        --dir /var/lib/lodestore --logfile /var/log/lodestore/lodestore.log &
    server=$!
    tries=0
    until lodestore ping --socket /var/lib/lodestore/socket >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "the server does not serve: $(cat /var/log/lodestore/lodestore.log)"
        sleep 0.1
    done
}
serve
kill -TERM "$server"
wait "$server" || fail "the server ended with $?"
[ -d /var/lib/lodestore/appendonlydir ] || fail "no data was written"

echo "maxmemory 100mb" >>/etc/lodestore/lodestore.conf
dpkg -i "$package" >/dev/null
grep -q "^maxmemory 100mb" /etc/lodestore/lodestore.conf || fail "an upgrade changed the configuration"

dpkg --remove lodestore >/dev/null 2>&1
[ ! -e /usr/bin/lodestore ] || fail "remove left the program"
[ -d /var/lib/lodestore/appendonlydir ] || fail "remove took the data"
[ -e /etc/lodestore/lodestore.conf ] || fail "remove took the configuration"

dpkg --purge lodestore >/dev/null 2>&1
is "names after" "" "$(left)"
if getent passwd lodestore >/dev/null || getent group lodestore >/dev/null; then
    fail "purge left the user"
fi
echo "$(basename "$package"): installed, used, upgraded, removed and purged"
