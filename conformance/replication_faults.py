#!/usr/bin/env python3
"""Faults between a primary and its replicas: connections that are cut, delayed and halved, servers
that are killed, roles that move. Nothing that was acknowledged and waited for may be lost.

    conformance/replication_faults.py --server target/release/lodestore --rounds 100

Replicas follow through proxies of this program. Writers add numbered elements to lists, and note
those that WAIT has confirmed. At the end of a round all servers have to have the same digest, and
the primary every noted element. The seed is printed, and taken back by --seed.
"""

import argparse
import os
import random
import select
import shutil
import socket
import sys
import tempfile
import threading
import time

from interop import PATIENCE_S, Client, ReplyError, Server, wait


class Proxy(threading.Thread):
    """Passes bytes on between a replica and the port of its primary, in pieces of any size."""

    def __init__(self, port, seed):
        super().__init__(daemon=True)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen()
        self.port, self.target = port, None
        self.chance = random.Random(seed)
        self.faults, self.cut_now = False, False
        self.start()

    def run(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            near.close()
            return
        try:
            while not self.cut_now:
                for ready in select.select([near, far], [], [], 0.05)[0]:
                    data = ready.recv(65536)
                    if not data or not self.forward(far if ready is near else near, data):
                        return
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def forward(self, to, data):
        """False: the connection is cut, maybe within a request."""
        while data:
            size = len(data)
            if self.faults:
                size = self.chance.randrange(1, len(data) + 1)
                fate = self.chance.random()
                if fate < 0.002:
                    return False
                if fate < 0.02:
                    time.sleep(self.chance.random() / 20)
            to.sendall(data[:size])
            data = data[size:]
        return True

    def cut(self):
        self.cut_now = True
        time.sleep(0.15)
        self.cut_now = False


class Writer(threading.Thread):
    """Adds numbers to a list. `safe` are those that a replica had, too, when it was asked."""

    def __init__(self, group, name, seed):
        super().__init__(daemon=True)
        self.group, self.name_, self.chance = group, name, random.Random(seed)
        self.next, self.safe, self.stop = 0, [], False

    def run(self):
        client = None
        while not self.stop:
            try:
                if client is None:
                    client = Client(self.group.primary.port)
                batch = []
                for _ in range(self.chance.randrange(1, 30)):
                    number, self.next = self.next, self.next + 1
                    client("RPUSH", self.name_, number)
                    batch.append(number)
                if client("WAIT", 1, 500) >= 1:
                    self.safe += batch
            except (OSError, ReplyError, ValueError):
                if client is not None:
                    client.close()
                client = None
                time.sleep(0.02)


class Group:
    """A primary and a replica, which follow each other through a proxy each."""

    def __init__(self, run):
        self.run = run
        more = ["--appendonly", "yes", "--repl-timeout", "5", "--min-replicas-to-write", "0"]
        for name, value in (it.split("=", 1) for it in run.options.set):
            more += ["--" + name, value]
        self.servers = [run.server(more) for _ in range(2)]
        self.proxies = [Proxy(run.next_port(), run.chance.random()) for _ in self.servers]
        for proxy, server in zip(self.proxies, self.servers):
            proxy.target = server.port
        self.primary, self.replica = self.servers
        self.follow()

    def follow(self):
        proxy = self.proxies[self.servers.index(self.primary)]
        self.replica.call("REPLICAOF", "127.0.0.1", proxy.port)

    def swap(self):
        self.primary, self.replica = self.replica, self.primary

    def set_faults(self, on):
        for proxy in self.proxies:
            proxy.faults = on

    def settle(self):
        self.set_faults(False)
        wait("the link is up", self.replica.is_linked)
        wait("the same offsets", lambda: self.primary.offset() == self.replica.offset())
        digests = [server.call("DEBUG", "DIGEST") for server in self.servers]
        if digests[0] != digests[1]:
            raise AssertionError("digests differ: %s" % digests)

    # ---- faults --------------------------------------------------------------------------------

    def cut(self):
        for proxy in self.proxies:
            proxy.cut()

    def kill_replica(self):
        self.replica.kill()
        self.replica.start()
        self.follow()

    def kill_primary(self):
        """It comes back with its append-only file."""
        self.primary.kill()
        self.primary.start()

    def fail_over(self):
        """The planned change of role; the address is the replica's own."""
        wait("the link is up", self.replica.is_linked)
        try:
            self.primary.call("FAILOVER", "TIMEOUT", 5000)
        except ReplyError:
            return
        over = lambda: self.primary.info("replication", "master_failover_state") == "no-failover"
        wait("the failover is over", over)
        if self.primary.info("replication", "role") == "slave":
            self.swap()
            self.follow()

    def replace_primary(self):
        """The primary dies, the replica takes over, and the old one follows it. What WAIT has not
        confirmed may be lost. A replica that is being loaded has nothing yet, and does not take
        over."""
        wait("the link is up", self.replica.is_linked)
        self.primary.kill()
        self.replica.call("REPLICAOF", "NO", "ONE")
        self.swap()
        self.replica.start()
        self.follow()

    def fresh_replica(self):
        """The replica loses its files, gets everything, takes over at once and is killed: what
        WAIT has confirmed since is on its disk."""
        self.replica.kill()
        shutil.rmtree(self.replica.dir)
        os.mkdir(self.replica.dir)
        self.replica.start()
        self.follow()
        self.replace_primary()
        self.kill_primary()


class Run:
    def __init__(self, options):
        self.options, self.port = options, options.port
        self.chance = random.Random(options.seed)
        self.dir = tempfile.mkdtemp(prefix="faults-", dir=options.dir)
        self.servers = []

    def next_port(self):
        self.port += 1
        return self.port

    def server(self, more):
        self.servers.append(Server(self, "lodestore", self.options.server, more))
        return self.servers[-1]

    def round(self, group, number):
        group.set_faults(True)
        writers = [Writer(group, "list:%d:%d" % (number, index), self.chance.random())
                   for index in range(3)]
        for writer in writers:
            writer.start()
        faults = [self.chance.choice([group.cut, group.kill_replica, group.kill_primary,
                                      group.fail_over, group.replace_primary,
                                      group.fresh_replica])
                  for _ in range(self.chance.randrange(1, 4))]
        for fault in faults:
            time.sleep(self.chance.random() / 2)
            fault()
        time.sleep(self.chance.random() / 2)
        for writer in writers:
            writer.stop = True
        for writer in writers:
            writer.join(PATIENCE_S)
        group.settle()
        safe = 0
        for writer in writers:
            there = {int(item) for item in group.primary.call("LRANGE", writer.name_, 0, -1)}
            lost = [item for item in writer.safe if item not in there]
            safe += len(writer.safe)
            if lost:
                raise AssertionError("%s lost %s" % (writer.name_, lost[:10]))
        names = ", ".join(fault.__name__ for fault in faults)
        print("round %d: %d safe writes survived: %s" % (number, safe, names))
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--port", type=int, default=22900)
    parser.add_argument("--dir", default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a parameter of the servers; may be repeated")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print("seed", options.seed)
    run = Run(options)
    try:
        group = Group(run)
        for number in range(options.rounds):
            run.round(group, number)
    except (AssertionError, OSError, ReplyError) as error:
        print("FAILED", error, "- the servers' logs are in", run.dir)
        return 1
    finally:
        for server in run.servers:
            server.kill()
    shutil.rmtree(run.dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
