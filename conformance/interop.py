#!/usr/bin/env python3
"""Replication between Lodestore and servers of other products, as primary and as replica.

    conformance/interop.py --ours target/release/lodestore --peer redis=/usr/bin/redis-server

Each scenario runs with Lodestore on either side. The digests of both servers have to be the same
when their offsets are. `--peer NAME=PATH` may be repeated; `--only WORD` runs the scenarios whose
names contain the word; the seed of the random commands is printed, and taken back by `--seed`.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# A wait that takes longer has failed.
PATIENCE_S = 40


class ReplyError(Exception):
    pass


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text.decode()
        if kind == b"-":
            raise ReplyError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            length = int(text)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return None if int(text) < 0 else [self.read_inside() for _ in range(int(text))]
        raise ConnectionError("unknown reply %r" % line)

    def read_inside(self):
        try:
            return self.read()
        except ReplyError as error:
            return error

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    """A server in a directory of its own."""

    def __init__(self, run, name, program, more=("--appendonly", "no")):
        self.name, self.program, self.more = name, program, list(more)
        self.port = run.next_port()
        self.dir = os.path.join(run.dir, "%d-%s" % (self.port, name))
        os.mkdir(self.dir)
        self.process = None
        self.start()

    def start(self):
        words = [self.program, "--port", str(self.port), "--dir", self.dir, "--save", "",
                 "--repl-diskless-sync-delay", "0",
                 "--enable-debug-command", "yes",
                 "--repl-ping-replica-period", "3600", "--logfile", os.path.join(self.dir, "log")]
        words += self.more
        if not self.is_ours():
            words += ["--daemonize", "no"]
        config = os.path.join(self.dir, "redis.conf")
        if os.path.exists(config):
            words.insert(1, config)
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        wait("%s answers" % self.name, lambda: self.answers())

    def is_ours(self):
        return self.name == "lodestore"

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("%s has ended: %s" % (self.name, self.dir))
        try:
            client = Client(self.port)
            answer = client("PING")
            client.close()
            return answer == "PONG"
        except (OSError, ReplyError):
            return False

    def call(self, *words):
        client = Client(self.port)
        try:
            return client(*words)
        finally:
            client.close()

    def info(self, section, field):
        for line in self.call("INFO", section).decode(errors="replace").splitlines():
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return ""

    def follow(self, primary):
        self.call("REPLICAOF", "127.0.0.1", primary.port)
        wait("%s follows %s" % (self.name, primary.name), self.is_linked)
        wait("it is online", lambda: "port=%d,state=online" % self.port
             in primary.call("INFO", "replication").decode())

    def is_linked(self):
        return self.info("replication", "master_link_status") == "up"

    def offset(self):
        return int(self.info("replication", "master_repl_offset"))

    def stop(self):
        """Ends with a snapshot, as an operator's restart does."""
        try:
            self.call("SHUTDOWN", "SAVE", "NOW")
        except (OSError, ReplyError) as error:
            if isinstance(error, ReplyError):
                raise
        self.process.wait(PATIENCE_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def wait(what, holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            raise AssertionError("in vain: " + what)
        time.sleep(0.02)


def assert_same(one, other):
    """Waits until both have the same offset and the same data. The primary may be about to remove
    what has expired, so a difference counts when it lasts."""
    wait("the same offsets of %s and %s" % (one.name, other.name),
         lambda: one.offset() == other.offset())
    end, seen = time.monotonic() + PATIENCE_S / 2, None
    while time.monotonic() < end:
        offsets = one.offset(), other.offset()
        seen = one.call("DEBUG", "DIGEST"), other.call("DEBUG", "DIGEST")
        if seen[0] == seen[1] and offsets[0] == offsets[1]:
            return
        time.sleep(0.1)
    raise AssertionError("digests differ at offset %d: %s" % (one.offset(), seen))


class Writer:
    """Random commands on all types. What one of the servers does not know is left out."""

    def __init__(self, chance, modern):
        self.chance, self.modern = chance, modern
        self.refused = {}

    def commands(self):
        pick = self.chance
        key = lambda kind: "%s:%d" % (kind, pick.randrange(20))
        word = lambda: "w%d" % pick.randrange(50)
        number = lambda: pick.randrange(-1000, 1000)
        ms = lambda: int(time.time() * 1000) + pick.choice([1, 50, 500, 1000000])
        every = [
            lambda: ("SET", key("string"), word() * pick.randrange(1, 40)),
            lambda: ("SET", key("string"), number(), "PX", pick.choice([1, 100, 100000])),
            lambda: ("APPEND", key("string"), word()),
            lambda: ("SETRANGE", key("string"), pick.randrange(100), word()),
            lambda: ("INCR", key("number")),
            lambda: ("INCRBYFLOAT", key("number"), "0.5"),
            lambda: ("GETDEL", key("string")),
            lambda: ("GETEX", key("string"), "PXAT", ms()),
            lambda: ("SETBIT", key("bits"), pick.randrange(10000), 1),
            lambda: ("BITFIELD", key("bits"), "INCRBY", "u8", pick.randrange(100), 3),
            lambda: ("RPUSH", key("list"), *[word() for _ in range(pick.randrange(1, 300))]),
            lambda: ("LPOP", key("list"), pick.randrange(1, 10)),
            lambda: ("LMOVE", key("list"), key("list"), "LEFT", "RIGHT"),
            lambda: ("LINSERT", key("list"), "BEFORE", word(), word()),
            lambda: ("LTRIM", key("list"), 0, 200),
            lambda: ("SADD", key("set"), *[number() for _ in range(pick.randrange(1, 200))]),
            lambda: ("SADD", key("set"), *[word() for _ in range(pick.randrange(1, 5))]),
            lambda: ("SPOP", key("set"), pick.randrange(1, 5)),
            lambda: ("SINTERSTORE", key("set"), key("set"), key("set")),
            lambda: ("SMOVE", key("set"), key("set"), word()),
            lambda: ("ZADD", key("zset"), number() / 8, word(), number(), word()),
            lambda: ("ZINCRBY", key("zset"), number(), word()),
            lambda: ("ZPOPMIN", key("zset"), 2),
            lambda: ("ZUNIONSTORE", key("zset"), 2, key("zset"), key("zset")),
            lambda: ("ZREMRANGEBYRANK", key("zset"), 0, 1),
            lambda: ("GEOADD", key("geo"), number() / 10, number() / 20, word()),
            lambda: ("HSET", key("hash"), word(), word(), word(), number()),
            lambda: ("HINCRBYFLOAT", key("hash"), "f", "1.25"),
            lambda: ("HDEL", key("hash"), word(), word()),
            lambda: ("PFADD", key("hll"), word(), number()),
            lambda: ("PFMERGE", key("hll"), key("hll"), key("hll")),
            lambda: ("XADD", key("stream"), "MAXLEN", "~", 100, "*", word(), word()),
            lambda: ("XGROUP", "CREATE", key("stream"), "g", "0", "MKSTREAM"),
            lambda: ("XREADGROUP", "GROUP", "g", word(), "COUNT", 3, "STREAMS", key("stream"), ">"),
            lambda: ("XAUTOCLAIM", key("stream"), "g", word(), 0, "0", "COUNT", 2),
            lambda: ("XTRIM", key("stream"), "MAXLEN", pick.randrange(50)),
            lambda: ("PEXPIREAT", key(pick.choice(["list", "set", "hash"])), ms()),
            lambda: ("PERSIST", key("list")),
            lambda: ("RENAME", key("set"), key("set")),
            lambda: ("COPY", key("hash"), key("hash"), "REPLACE"),
            lambda: ("SORT", key("set"), "ALPHA", "STORE", key("list")),
            lambda: ("DEL", key(pick.choice(["string", "list", "zset", "stream"]))),
            lambda: ("UNLINK", key("hash")),
            lambda: ("PUBLISH", "channel", word()),
            lambda: ("EVAL", "redis.call('incr',KEYS[1]) return redis.call('rpush',KEYS[2],ARGV[1])",
                     2, key("number"), key("list"), word()),
            lambda: ("SELECT", pick.randrange(4)),
        ]
        if self.modern:
            every += [
                lambda: ("HPEXPIRE", key("hash"), pick.choice([1, 100, 100000]), "FIELDS", 1, word()),
                lambda: ("HPERSIST", key("hash"), "FIELDS", 1, word()),
            ]
        return every

    def write(self, server, count):
        client = Client(server.port)
        every = self.commands()
        for _ in range(count):
            inside = self.chance.random() < 0.05
            if inside:
                client("MULTI")
            for _ in range(self.chance.randrange(1, 4) if inside else 1):
                words = self.chance.choice(every)()
                try:
                    client(*words)
                except ReplyError as error:
                    self.refused[words[0]] = str(error)
            if inside:
                try:
                    client("EXEC")
                except ReplyError:
                    pass
        client.close()


# ---- scenarios: each gets a primary's and a replica's maker --------------------------------------

def full(run, primary, replica):
    one = primary()
    run.writer.write(one, 1500)
    one.call("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f',"
             "function(k,a) return redis.call('set',k[1],a[1]) end)")
    other = replica()
    other.follow(one)
    assert_same(one, other)
    run.writer.write(one, 1500)
    assert_same(one, other)
    if other.call("FUNCTION", "LIST") != one.call("FUNCTION", "LIST"):
        raise AssertionError("the functions differ")
    one.call("FLUSHALL")
    run.writer.write(one, 100)
    assert_same(one, other)


def partial(run, primary, replica):
    one, other = primary(), replica()
    other.follow(one)
    before = one.info("stats", "sync_full")
    for _ in range(5):
        run.writer.write(one, 100)
        one.call("CLIENT", "KILL", "TYPE", "replica")
        run.writer.write(one, 100)
        wait("the link is up", other.is_linked)
        assert_same(one, other)
    if one.info("stats", "sync_full") != before:
        raise AssertionError("a full synchronization after a cut")


def restarted_replica(run, primary, replica):
    one, other = primary(), replica()
    run.writer.write(one, 300)
    other.follow(one)
    run.writer.write(one, 300)
    assert_same(one, other)
    before = one.info("stats", "sync_full")
    with open(os.path.join(other.dir, "redis.conf"), "w") as config:
        config.write("replicaof 127.0.0.1 %d\n" % one.port)
    other.stop()
    run.writer.write(one, 300)
    other.start()
    wait("the link is up", other.is_linked)
    assert_same(one, other)
    if one.info("stats", "sync_full") != before:
        raise AssertionError("a full synchronization after a restart")


def restarted_primary(run, primary, replica):
    one, other = primary(), replica()
    run.writer.write(one, 300)
    other.follow(one)
    run.writer.write(one, 300)
    assert_same(one, other)
    one.stop()
    one.start()
    wait("the link is up", other.is_linked)
    run.writer.write(one, 300)
    assert_same(one, other)
    if one.info("stats", "sync_full") != "0":
        raise AssertionError("a full synchronization after a restart of the primary")


def chained(run, primary, replica):
    one, middle, last = primary(), replica(), primary()
    run.writer.write(one, 300)
    middle.follow(one)
    last.follow(middle)
    run.writer.write(one, 500)
    assert_same(one, middle)
    assert_same(one, last)
    middle.call("REPLICAOF", "NO", "ONE")
    run.writer.write(middle, 300)
    wait("the link is up", last.is_linked)
    assert_same(middle, last)


def promoted(run, primary, replica):
    one, other = primary(), replica()
    run.writer.write(one, 300)
    other.follow(one)
    # What expires now would be in the stream of the old primary alone.
    one.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    assert_same(one, other)
    other.call("REPLICAOF", "NO", "ONE")
    run.writer.write(other, 300)
    one.follow(other)
    one.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    assert_same(other, one)
    if other.info("stats", "sync_full") != "0":
        raise AssertionError("a full synchronization after a promotion")


def failover(run, primary, replica):
    one, other = primary(), replica()
    run.writer.write(one, 300)
    other.follow(one)
    for old, new in [(one, other), (other, one), (one, other)]:
        run.writer.write(old, 200)
        old.call("FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", 30000)
        wait("the failover is over",
             lambda: old.info("replication", "master_failover_state") == "no-failover")
        if old.info("replication", "role") != "slave" or new.info("replication", "role") != "master":
            raise AssertionError("the roles have not changed")
        run.writer.write(new, 200)
        wait("the link is up", old.is_linked)
        assert_same(new, old)
    if other.info("stats", "sync_full") != "0":
        raise AssertionError("a full synchronization after a failover")


def two_channels(run, primary, replica):
    """The snapshot on a connection of its own, and the stream beside it. Redis has none of it."""
    one = primary()
    run.writer.write(one, 1500)
    for way in ["disabled", "swapdb", "flush-before-load"]:
        other = replica()
        try:
            for server in (one, other):
                server.call("CONFIG", "SET", "dual-channel-replication-enabled", "yes")
            other.call("CONFIG", "SET", "repl-diskless-load", way)
        except ReplyError:
            return
        one.call("CONFIG", "SET", "rdb-key-save-delay", 2000)
        before = int(one.info("stats", "sync_partial_ok"))
        other.call("REPLICAOF", "127.0.0.1", one.port)
        wait("the stream comes beside the snapshot",
             lambda: int(one.info("stats", "sync_partial_ok")) > before)
        run.writer.write(one, 500)
        one.call("CONFIG", "SET", "rdb-key-save-delay", 0)
        wait("the link is up", other.is_linked)
        assert_same(one, other)
        run.writer.write(one, 300)
        assert_same(one, other)
        other.call("REPLICAOF", "NO", "ONE")


SCENARIOS = [full, partial, restarted_replica, restarted_primary, chained, promoted, failover,
             two_channels]


class Run:
    def __init__(self, options):
        self.options, self.port = options, options.port
        self.dir = tempfile.mkdtemp(prefix="interop-", dir=options.dir)
        self.servers, self.writer = [], None

    def next_port(self):
        self.port += 1
        return self.port

    def maker(self, name, program):
        def make():
            self.servers.append(Server(self, name, program))
            return self.servers[-1]
        return make

    def scenario(self, scenario, ours, peer):
        """Runs it with Lodestore as the primary, and as the replica. Returns the failures."""
        failures = []
        for order in [(ours, peer), (peer, ours)]:
            title = "%s: %s <- %s" % (scenario.__name__, order[0][0], order[1][0])
            modern = any(word in peer[0] for word in self.options.field_deadlines)
            self.writer = Writer(random.Random(self.options.seed), modern)
            try:
                scenario(self, self.maker(*order[0]), self.maker(*order[1]))
                print("ok    ", title)
            except (AssertionError, OSError, ReplyError) as error:
                print("FAILED", title, "-", error)
                failures.append(title)
            finally:
                for server in self.servers:
                    server.kill()
                self.servers.clear()
            sys.stdout.flush()
        return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True, help="the binary of Lodestore")
    parser.add_argument("--peer", action="append", required=True, help="NAME=PATH of another server")
    parser.add_argument("--field-deadlines", nargs="*", default=["valkey-9", "redis-8", "redis-7.4"],
                        help="names of peers, or parts of them, that know HPEXPIRE")
    parser.add_argument("--port", type=int, default=22700, help="ports begin behind this one")
    parser.add_argument("--dir", default=None, help="where the servers' directories are made")
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print("seed", options.seed)
    run, failures = Run(options), []
    ours = ("lodestore", os.path.abspath(options.ours))
    for peer in options.peer:
        name, path = peer.split("=", 1)
        for scenario in SCENARIOS:
            if options.only in scenario.__name__:
                failures += run.scenario(scenario, ours, (name, os.path.abspath(path)))
    print("%d failures" % len(failures))
    if failures:
        print("the servers' logs are in", run.dir)
        return 1
    shutil.rmtree(run.dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
