#!/usr/bin/env python3
"""Compares users and their rights with another server, byte for byte.

    conformance/acl_differential.py --peer /path/to/valkey-server --rounds 1000

Starts both servers, gives random rules to random users of both, and compares every reply: of ACL SETUSER,
GETUSER, LIST, DRYRUN and DELUSER, and of commands that clients of these users send. The first difference is
printed with what led to it, and the seed repeats the run. Selectors with words that end in a parenthesis are
left out, because Lodestore quotes these. It needs nothing but Python 3.
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time


class Client:
    """A connection that speaks RESP2 and keeps replies as they came."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.data = b""

    def send(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode("latin-1")
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        try:
            self.socket.sendall(b"".join(parts))
            return self.reply()
        except (ConnectionError, BrokenPipeError):
            return b"(closed)"

    def line(self):
        while b"\r\n" not in self.data:
            got = self.socket.recv(65536)
            if not got:
                raise ConnectionError
            self.data += got
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"$" and rest != b"-1":
            length = int(rest) + 2
            while len(self.data) < length:
                got = self.socket.recv(65536)
                if not got:
                    raise ConnectionError
                self.data += got
            text, self.data = self.data[: length - 2], self.data[length:]
            return b"$" + text
        if kind == b"*" and rest != b"-1":
            return [self.reply() for _ in range(int(rest))]
        return line


class Server:
    """A server of one of the two kinds with its administrator."""

    def __init__(self, program, port):
        self.port = port
        self.dir = tempfile.mkdtemp(prefix="acl-differential-")
        arguments = ["--port", str(port), "--dir", self.dir, "--save", "", "--appendonly", "no"]
        log = open(os.path.join(self.dir, "log"), "wb")
        self.process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
        for _ in range(600):
            try:
                self.admin = Client(port)
                break
            except OSError:
                time.sleep(0.05)
        else:
            raise SystemExit(f"{program} does not start, see {self.dir}")
        self.clients = {}

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


COMMANDS = """get set del mget mset exists type copy move rename sort sort_ro bitfield bitop lmove blpop xread
zunionstore zunion sdiffstore sinter geosearchstore geosearch georadius pfmerge pfcount publish subscribe psubscribe
client config acl select swapdb flushall flushdb dbsize keys scan multi exec discard watch unwatch ping echo auth hello
object memory debug info xgroup xinfo xadd xreadgroup lpush rpop zadd zrange zrangestore hset hgetall touch unlink
restore dump migrate lcs getex getdel setrange append incr expire persist randomkey object spublish ssubscribe pubsub
command latency slowlog reset quit sintercard lmpop zmpop bzmpop smove setex psetex decr strlen""".split()
CATEGORIES = """keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow
blocking dangerous connection transaction scripting all nosuch""".split()
SUBCOMMANDS = """client|id client|list client|kill config|get config|set acl|whoami object|encoding memory|usage xinfo|stream
xgroup|create config|nosuch get|x select|0 select|1 set|a sort|k client| acl|setuser|x debug|object pubsub|channels""".split()
KEYS = ["a", "b", "ab", "abc", "k1", "k2", "x:1", "x:2", "y[1]", "", "A"]
PATTERNS = ["*", "a", "a*", "ab*", "?", "k[12]", "x:*", "*b*", "k?", "y\\[1\\]", "", "**", "[^a]*"]
CHANNELS = ["a", "ab", "c:1", "c:2", "*", "c:*", "a?"]
USERS = ["u1", "u2", "u3"]
HASHES = [
    "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    "5E884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    "12",
]


def selector_rule(rng):
    name = lambda: rng.choice(COMMANDS) if rng.random() < 0.7 else rng.choice(SUBCOMMANDS)
    case = lambda text: text.upper() if rng.random() < 0.1 else text
    return rng.choice(
        [
            lambda: case("+" + name()),
            lambda: case("-" + name()),
            lambda: case("+@" + rng.choice(CATEGORIES)),
            lambda: case("-@" + rng.choice(CATEGORIES)),
            lambda: "~" + rng.choice(PATTERNS),
            lambda: rng.choice(["%R~", "%W~", "%RW~", "%r~", "%wr~", "%~", "%x~", "%RR~", "%R"]) + rng.choice(PATTERNS),
            lambda: "&" + rng.choice(CHANNELS),
            lambda: rng.choice(["allkeys", "resetkeys", "allchannels", "resetchannels", "alldbs", "resetdbs"]),
            lambda: rng.choice(["allcommands", "nocommands"]),
            lambda: "db=" + rng.choice(["0", "1", "0,1", "3,2,3", "", ",1", "1,", "x", "-1", "99", "2147483648", "+1", "1x"]),
        ]
    )()


def user_rule(rng):
    pick = rng.random()
    if pick < 0.70:
        return [selector_rule(rng)]
    if pick < 0.80:
        inner = " ".join(selector_rule(rng) for _ in range(rng.randrange(4)))
        text = rng.choice(["(%s)", "( %s )", "(%s", "%s)", "((%s)"]) % inner if rng.random() < 0.2 else f"({inner})"
        # First arguments with spaces are refused here.
        is_split = rng.random() < 0.5 or not text.startswith("(")
        return text.split(" ") if is_split else [text]
    if pick < 0.87:
        return [rng.choice([">pw", ">other", "<pw", "<none", ">", "<"])]
    if pick < 0.90:
        return [rng.choice("#!") + rng.choice(HASHES)]
    return [rng.choice(["on", "on", "on", "off", "nopass", "resetpass", "clearselectors", "reset", "sanitize-payload",
                        "skip-sanitize-payload", "", "nosuch", "ON", "Reset", "a b", "~a b", "@read"])]


def request(rng):
    key = lambda: rng.choice(KEYS)
    db = lambda: rng.choice(["0", "1", "2", "15", "16", "-1", "x"])
    channel = lambda: rng.choice(CHANNELS)
    number = lambda: rng.choice(["1", "2", "3", "0", "x"])
    forms = [
        lambda: ["get", key()],
        lambda: ["set", key(), "v"],
        lambda: ["set", key(), "v", "get"],
        lambda: ["mget", key(), key(), key()],
        lambda: ["mset", key(), "v", key(), "v"],
        lambda: ["exists", key(), key()],
        lambda: ["type", key()],
        lambda: ["del", key(), key()],
        lambda: ["copy", key(), key()],
        lambda: ["copy", key(), key(), "DB", db()],
        lambda: ["copy", key(), key(), "DB", db(), "replace", "db", db()],
        lambda: ["move", key(), db()],
        lambda: ["rename", key(), key()],
        lambda: ["sort", key(), "by", rng.choice(["nosort", "w_*"])],
        lambda: ["sort", key(), "get", rng.choice(["#", "w_*"]), "store", key()],
        lambda: ["sort", key(), "store", key(), "store", key()],
        lambda: ["sort_ro", key(), "limit", "0", "1"],
        lambda: ["bitfield", key(), "get", "u8", "0"],
        lambda: ["bitfield", key(), "get", "u8", "0", "set", "u8", "0", "1"],
        lambda: ["bitfield_ro", key(), "get", "u8", "0"],
        lambda: ["bitop", "and", key(), key(), key()],
        lambda: ["lmove", key(), key(), "left", "right"],
        lambda: ["blmpop", "0.01", number(), key(), key(), "left"],
        lambda: ["zunionstore", key(), number(), key(), key()],
        lambda: ["zunion", number(), key(), key()],
        lambda: ["sdiffstore", key(), key(), key()],
        lambda: ["sintercard", number(), key(), key()],
        lambda: ["georadius", key(), "1", "1", "1", "km", "store", key()],
        lambda: ["georadius", key(), "1", "1", "1", "km", "storedist", key(), "store", key()],
        lambda: ["georadius_ro", key(), "1", "1", "1", "km"],
        lambda: ["geosearchstore", key(), key(), "fromlonlat", "1", "1", "byradius", "1", "km"],
        lambda: ["xread", "streams", key(), key(), "0", "0"],
        lambda: ["xread", "count", "1", "streams", key(), "0"],
        lambda: ["xreadgroup", "group", "g", "c", "streams", key(), ">"],
        lambda: ["pfmerge", key(), key()],
        lambda: ["pfcount", key(), key()],
        lambda: ["smove", key(), key(), "m"],
        lambda: ["zrangestore", key(), key(), "0", "1"],
        lambda: ["lcs", key(), key()],
        lambda: ["getex", key()],
        lambda: ["getdel", key()],
        lambda: ["touch", key()],
        lambda: ["object", "encoding", key()],
        lambda: ["memory", "usage", key()],
        lambda: ["xinfo", "stream", key()],
        lambda: ["xgroup", "create", key(), "g", "0"],
        lambda: ["watch", key()],
        lambda: ["publish", channel(), "m"],
        lambda: ["spublish", channel(), "m"],
        lambda: ["select", db()],
        lambda: ["swapdb", db(), db()],
        lambda: ["flushdb"],
        lambda: ["flushall"],
        lambda: ["dbsize"],
        lambda: ["keys", "nosuch*"],
        lambda: ["ping"],
        lambda: ["echo", "x"],
        lambda: ["client", "getname"],
        lambda: ["config", "get", "nosuch"],
        lambda: ["acl", "whoami"],
        lambda: ["config", "nosuch"],
        lambda: ["nosuch", "a"],
        lambda: ["get"],
        lambda: ["eval_nosuch"],
        lambda: ["migrate", "127.0.0.1", "1", key(), "0", "10"],
        lambda: ["migrate", "127.0.0.1", "1", "", "0", "10", "keys", key(), key()],
        lambda: ["dump", key()],
        lambda: ["unlink", key()],
        lambda: ["expire", key(), "100"],
        lambda: ["append", key(), "x"],
        lambda: ["hset", key(), "f", "v"],
        lambda: ["hgetall", key()],
        lambda: ["lpush", key(), "x"],
        lambda: ["lmpop", number(), key(), key(), "left"],
        lambda: ["zmpop", number(), key(), key(), "min"],
        lambda: ["mset", key()],
        lambda: ["acl", "dryrun", rng.choice(USERS), "get", key()],
    ]
    if rng.random() < 0.03:
        return [rng.choice(["subscribe", "psubscribe", "ssubscribe"]), channel(), channel()]
    return rng.choice(forms)()


DRYRUN_ONLY = {"subscribe", "psubscribe", "ssubscribe", "migrate", "memory", "dump"}


class Run:
    def __init__(self, servers, rng):
        self.servers, self.rng = servers, rng
        self.history = []
        self.compared = 0

    def both(self, *words):
        return self.compare(words, [server.admin.send(*words) for server in self.servers])

    def compare(self, words, replies):
        self.history.append(words)
        del self.history[:-60]
        self.compared += 1
        if replies[0] != replies[1]:
            for past in self.history:
                print("  ", past)
            print("ours: ", replies[0])
            print("peer: ", replies[1])
            raise SystemExit(1)
        return replies[0]

    def as_user(self, user, words):
        replies = []
        for server in self.servers:
            client = server.clients.get(user)
            reply = client.send(*words) if client else b"(closed)"
            if reply == b"(closed)":
                client = server.clients[user] = Client(server.port)
                login = client.send("auth", user, "pw")
                reply = [login, client.send(*words)]
            replies.append(reply)
        self.compare((user, *words), replies)

    def round(self):
        rng = self.rng
        user = rng.choice(USERS)
        rules = [word for _ in range(rng.randrange(1, 9)) for word in user_rule(rng)]
        if rng.random() < 0.3:
            rules = ["reset", "on", ">pw", *rules]
        self.both("acl", "setuser", user, *rules)
        self.both("acl", "getuser", user)
        if rng.random() < 0.2:
            self.both("acl", "list")
        if rng.random() < 0.02:
            self.both("acl", "deluser", rng.choice(USERS), "nosuch")
        for _ in range(20):
            self.both("acl", "dryrun", user, *request(rng))
        for _ in range(5):
            words = request(rng)
            if words[0] not in DRYRUN_ONLY:
                self.as_user(user, words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="target/release/lodestore")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--port", type=int, default=21300)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print("seed", options.seed)
    servers = []
    try:
        servers = [Server(options.server, options.port), Server(options.peer, options.port + 1)]
        run = Run(servers, random.Random(options.seed))
        for category in [*CATEGORIES, "nosuch"]:
            replies = [server.admin.send("acl", "cat", category) for server in servers]
            if isinstance(replies[0], list):
                missing = sorted(set(replies[1]) - set(replies[0]))
                print(category, "lacks", b" ".join(missing).decode(), "has more", sorted(set(replies[0]) - set(replies[1])))
        for _ in range(options.rounds):
            run.round()
        print(run.compared, "replies are the same")
    finally:
        for server in servers:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
