#!/usr/bin/env python3
"""Compares /metrics of a Lodestore server with what redis_exporter shows of it.

Starts a server, the exporter beside it and, when --peer is given, a Valkey server with an exporter
of its own. Checks that

- every metric that the exporter shows of the peer is shown by /metrics,
- every sample that the exporter shows of our server is shown by /metrics, with the same labels,
- the value is the same, where figures do not move by themselves.

The exporter is `prometheus-redis-exporter` of Debian or `redis_exporter`; without it nothing is
compared, and the exit code is 77.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

MISSING = 77

# Metrics of the exporter itself.
OWN = re.compile(r"^(redis_exporter_|redis_target_|redis_last_key_groups|go_|process_|promhttp_)")

# Figures that the two ways of asking change themselves, or that move with time. They are compared
# by name and labels alone.
MOVING = re.compile(
    r"^redis_(allocator_|cpu_|memory_used|mem_|uptime|connected_clients|connections_received|"
    r"commands_|latency_percentiles|net_|total_(reads|writes)|eventloop|instantaneous|io_threaded|"
    r"active_time|client_recent|start_time|db_avg_ttl|slowlog|last_slow|commandlog|blocked_clients|"
    r"config_key_value|config_value|expire_cycle)"
)

# Labels of redis_instance_info that newer versions of the exporter have.
INSTANCE = "redis_instance_info"

LOAD = [
    "SET a 1", "SET b 2 EX 1000", "GET a", "GET nothing", "LPUSH a 1", "NOSUCH", "HSET h f v",
    "ZADD z 1 m", "XADD s * f v", "CONFIG SET slowlog-log-slower-than 0", "SET c 1",
    "CONFIG SET slowlog-log-slower-than 10000", "EVAL return(1) 0", "SUBSCRIBE x",
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def fetch(port):
    url = f"http://127.0.0.1:{port}/metrics"
    deadline = time.time() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as page:
                return page.read().decode()
        except OSError:
            if time.time() > deadline:
                raise
            time.sleep(0.05)


def samples(page):
    """Samples by name and labels; labels are sorted, numbers are floats."""
    found = {}
    for line in page.splitlines():
        if not line or line.startswith("#"):
            continue
        name, value = line.rsplit(" ", 1)
        base, _, rest = name.partition("{")
        labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest)))
        if not OWN.match(base):
            found[base, labels] = float(value)
    return found


def load(port):
    for line in LOAD:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(line.encode() + b"\r\n")
            client.recv(4096)


def wait_for(port):
    deadline = time.time() + 20
    while time.time() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(b"PING\r\n")
                if client.recv(64) == b"+PONG\r\n":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"no server on port {port}")


class Processes:
    def __init__(self):
        self.running = []

    def start(self, *command):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.running.append(subprocess.Popen(command, **quiet))

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait()


def watch(processes, exporter, program, directory, options):
    """A server with an exporter; their ports."""
    port, exported = free_port(), free_port()
    os.makedirs(directory)
    base = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--appendonly", "yes"]
    processes.start(program, *base, *options)
    wait_for(port)
    address = f"redis://127.0.0.1:{port}"
    processes.start(exporter, "-redis.addr", address, "-web.listen-address", f"127.0.0.1:{exported}")
    load(port)
    return exported


def compare(theirs, ours):
    """Samples of the exporter that /metrics does not have, or has with another value."""
    wrong = []
    instances = [dict(labels) for base, labels in ours if base == INSTANCE]
    for (base, labels), value in sorted(theirs.items()):
        if base == INSTANCE:
            if not all(instances[0].get(name) == text for name, text in labels):
                wrong.append(f"{base}: {labels} is not part of {instances[0]}")
            continue
        if (base, labels) not in ours:
            # Requests of the exporter itself come between the two pages.
            if not MOVING.match(base):
                wrong.append(f"{base}{dict(labels)} is missing")
        elif not MOVING.match(base) and abs(ours[base, labels] - value) > 1e-6:
            wrong.append(f"{base}{dict(labels)} is {ours[base, labels]} instead of {value}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="target/debug/lodestore", help="our server")
    parser.add_argument("--peer", help="a Valkey server, whose metrics have to be there, too")
    parser.add_argument("--exporter", help="the exporter, when it is not in the path")
    args = parser.parse_args()
    known = ("prometheus-redis-exporter", "redis_exporter")
    exporter = args.exporter or next(filter(None, map(shutil.which, known)), None)
    if not exporter:
        print("redis_exporter is not installed (Debian: prometheus-redis-exporter); nothing compared")
        sys.exit(MISSING)
    processes, base = Processes(), tempfile.mkdtemp(prefix="lodestore-metrics-")
    wrong = []
    try:
        http = free_port()
        options = ["--http-port", str(http)]
        exported = watch(processes, exporter, args.ours, os.path.join(base, "ours"), options)
        theirs, ours = samples(fetch(exported)), samples(fetch(http))
        wrong += compare(theirs, ours)
        names = {name for name, _ in ours}
        if args.peer:
            exported = watch(processes, exporter, args.peer, os.path.join(base, "peer"), [])
            peer = {name for name, _ in samples(fetch(exported))}
            wrong += [f"{name} of the peer is missing" for name in sorted(peer - names)]
        print(f"{len(theirs)} samples of the exporter, {len(ours)} of ours, {len(wrong)} differences")
    finally:
        processes.stop()
        shutil.rmtree(base)
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
