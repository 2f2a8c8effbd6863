#!/bin/sh
# Runs client libraries of other languages against a server of ours.
#
#   conformance/clients/run.sh [path of the lodestore binary]
#
# Needs python3 with venv, node with npm, and the package registries (or a configured mirror of them).
# Everything is installed into a temporary directory that is removed at the end.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
binary=${1:-$root/target/release/lodestore}
[ -x "$binary" ] || { echo "no server at $binary: cargo build --release -p lodestore" >&2; exit 1; }

work=$(mktemp -d)
server=
clean_up() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

echo "== installing redis-py and ioredis"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis
npm install --prefix "$work" --no-audit --no-fund --silent ioredis

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/data"
"$binary" --port "$port" --bind 127.0.0.1 --dir "$work/data" --save "" >"$work/log" 2>&1 &
server=$!
"$work/venv/bin/python" "$here/wait.py" "$port" || { cat "$work/log" >&2; exit 1; }

failed=0
for protocol in 2 3; do
    echo "== redis-py, RESP$protocol"
    "$work/venv/bin/python" "$here/redis_py.py" "$port" "$protocol" || failed=1
    echo "== ioredis, RESP$protocol"
    NODE_PATH="$work/node_modules" node "$here/ioredis.cjs" "$port" "$protocol" || failed=1
    echo "== queues on a server that is killed, redis-py, RESP$protocol"
    "$work/venv/bin/python" "$here/queues.py" "$binary" "$protocol" || failed=1
    echo "== queues on a server that is killed, ioredis, RESP$protocol"
    NODE_PATH="$work/node_modules" node "$here/queues.cjs" "$binary" "$protocol" || failed=1
done
exit $failed
