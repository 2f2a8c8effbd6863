"""Everyday use through redis-py. Arguments: port, protocol version (2 or 3)."""

import sys
import threading
import time

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def connect(**options):
    options.setdefault("decode_responses", True)
    return redis.Redis(port=PORT, protocol=PROTOCOL, socket_timeout=10, **options)


def expect_error(kind, text, function, *args, **options):
    try:
        function(*args, **options)
    except kind as error:
        assert text in str(error), f"{error} does not say {text}"
        return
    raise AssertionError(f"no {kind.__name__}")


@check
def strings(r):
    assert r.set("s", "hello") is True
    assert r.get("s") == "hello"
    assert r.set("s", "x", nx=True) is None
    assert r.set("s", "bye", xx=True, get=True) == "hello"
    assert r.append("s", "!") == 4
    assert r.strlen("s") == 4
    assert r.getrange("s", 1, -2) == "ye"
    assert r.setrange("s", 0, "B") == 4
    assert r.getset("s", "new") == "Bye!"
    assert r.getdel("s") == "new"
    assert r.get("s") is None
    assert r.mset({"m1": "1", "m2": "2"}) is True
    assert r.msetnx({"m2": "x", "m3": "3"}) is False
    assert r.mget("m1", "m2", "m3") == ["1", "2", None]
    assert r.incr("n") == 1
    assert r.incrby("n", 41) == 42
    assert r.decr("n", 2) == 40
    assert float(r.incrbyfloat("f", "3.25")) == 3.25
    assert r.lcs("m1", "m2") == ""
    assert r.substr("n", 0, 0) == "4"


@check
def binary(_):
    r = connect(decode_responses=False)
    value = bytes(range(256)) * 1000
    assert r.set(b"\x00\r\nkey", value)
    assert r.get(b"\x00\r\nkey") == value
    assert r.set("utf", "grüße") and r.get("utf").decode() == "grüße"


@check
def keys(r):
    r.mset({"k1": "1", "k2": "2"})
    assert r.exists("k1", "k2", "k1", "nope") == 3
    assert r.type("k1") == "string" and r.type("nope") == "none"
    assert r.rename("k1", "k3") is True
    assert r.renamenx("k3", "k2") is False
    assert r.copy("k2", "k4") is True
    assert sorted(r.keys("k*")) == ["k2", "k3", "k4"]
    assert r.touch("k2", "nope") == 1
    assert r.unlink("k2") == 1 and r.delete("k3", "k4", "nope") == 2
    assert r.randomkey() is None
    r.set("int", 12345)
    assert r.object("encoding", "int") == "int"
    assert r.object("refcount", "int") >= 1
    assert r.memory_usage("int") > 0
    assert r.dbsize() == 1


@check
def expiry(r):
    r.set("e", "1", ex=100)
    assert 99 <= r.ttl("e") <= 100
    assert 99_000 < r.pttl("e") <= 100_000
    assert r.persist("e") is True and r.ttl("e") == -1 and r.ttl("nope") == -2
    assert r.expire("e", 10, nx=True) and not r.expire("e", 20, nx=True)
    assert r.expire("e", 20, gt=True) and not r.expire("e", 30, lt=True)
    at = int(time.time()) + 500
    assert r.expireat("e", at) and r.expiretime("e") == at
    assert r.pexpireat("e", at * 1000 + 7) and r.pexpiretime("e") == at * 1000 + 7
    assert r.getex("e", persist=True) == "1" and r.ttl("e") == -1
    assert r.set("e", "2", px=30) and r.set("e", "3", keepttl=True)
    assert r.setex("e2", 50, "x") and r.psetex("e3", 20, "y")
    deadline = time.time() + 10
    while r.exists("e", "e3") and time.time() < deadline:
        time.sleep(0.01)
    assert r.mget("e", "e2", "e3") == [None, "x", None]
    assert r.expire("e2", -1) is True and r.exists("e2") == 0


@check
def databases(r):
    other = connect(db=5)
    r.set("d", "zero")
    other.set("d", "five")
    assert r.get("d") == "zero" and other.get("d") == "five"
    assert r.move("d", 5) is False
    assert r.swapdb(0, 5) is True
    assert r.get("d") == "five"
    assert "db0" in r.info("keyspace") and r.info("keyspace")["db5"]["keys"] == 1
    assert other.flushdb() is True and other.dbsize() == 0
    expect_error(redis.ResponseError, "out of range", connect(db=99).ping)
    other.close()


@check
def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"p{number}", number).get(f"p{number}")
        replies = pipe.execute()
    assert replies[0::2] == [True] * 1000
    assert replies[1::2] == [str(number) for number in range(1000)]
    with r.pipeline(transaction=False) as pipe:
        pipe.set("text", "abc").incr("text").get("text")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == "abc"
    assert isinstance(replies[1], redis.ResponseError)


@check
def transactions(r):
    with r.pipeline() as pipe:
        assert pipe.set("t", 1).incr("t").get("t").execute() == [True, 2, "2"]
    with r.pipeline() as pipe:
        pipe.watch("t")
        before = int(pipe.get("t"))
        pipe.multi()
        pipe.set("t", before + 1)
        r.set("t", "changed")
        expect_error(redis.WatchError, "", pipe.execute)
    assert r.get("t") == "changed"
    with r.pipeline() as pipe:
        pipe.execute_command("NOSUCH")
        pipe.get("t")
        expect_error(redis.ResponseError, "unknown command", pipe.execute)

    def add(pipe):
        current = int(pipe.get("sum") or 0)
        pipe.multi()
        pipe.set("sum", current + 1)

    def work():
        mine = connect()
        for _ in range(50):
            mine.transaction(add, "sum")
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get("sum") == "200"


@check
def scanning(r):
    names = {f"scan:{number}" for number in range(2500)}
    r.mset(dict.fromkeys(names, "1"))
    r.set("other", "1")
    found = list(r.scan_iter(match="scan:*", count=100))
    assert len(found) == len(names) and set(found) == names
    assert set(r.scan_iter(_type="string")) == names | {"other"}
    assert list(r.scan_iter(_type="list")) == []


@check
def connections(r):
    assert r.ping() is True and r.echo("hé") == "hé"
    assert r.client_setname("checker") is True and r.client_getname() == "checker"
    me = r.client_info()
    assert me["id"] == r.client_id() and me["name"] == "checker" and me["lib-name"]
    assert int(me["resp"]) == PROTOCOL
    assert any(client["name"] == "checker" for client in r.client_list())
    assert r.client_list(client_id=[me["id"]])[0]["addr"] == me["addr"]
    assert r.client_no_evict("ON") and r.client_no_touch("OFF")
    assert r.client_pause(1) and r.client_unpause()
    assert abs(r.time()[0] - time.time()) < 60
    victim = connect(retry=Retry(ConstantBackoff(0), 3))
    number = victim.client_id()
    assert r.client_kill_filter(_id=str(number)) == 1
    assert victim.ping() is True and victim.client_id() != number, "no reconnect"
    victim.close()
    assert r.reset() == "RESET" if hasattr(r, "reset") else True


@check
def administration(r):
    info = r.info()
    assert info["redis_version"][0].isdigit() and info["lodestore_version"]
    for field in ("used_memory", "connected_clients", "total_commands_processed", "uptime_in_seconds"):
        assert isinstance(info[field], int), field
    assert r.info("stats", "commandstats") and r.info("everything")
    assert r.config_get("maxmemory*")["maxmemory-policy"] == "noeviction"
    assert r.config_get("port", "timeout")["port"] == str(PORT)
    assert r.config_set("timeout", 123) and r.config_get("timeout") == {"timeout": "123"}
    assert r.config_set("timeout", 0) and r.config_resetstat()
    assert r.command_count() > 50 and r.command()["get"]["arity"] == 2
    assert r.command_getkeys("MSET", "a", "1", "b", "2") == ["a", "b"]
    assert "get" in r.command_list()
    assert r.slowlog_get(10) is not None and r.slowlog_len() >= 0 and r.slowlog_reset()
    assert r.memory_stats()["total.allocated"] > 0
    assert r.latency_latest() == [] and r.bgrewriteaof()
    assert r.wait(0, 10) == 0 and r.waitaof(1, 0, 5000)[0] == 1
    assert r.acl_whoami() == "default" if "acl" in r.command() else True


@check
def errors(r):
    r.set("text", "abc")
    expect_error(redis.ResponseError, "not an integer", r.incr, "text")
    expect_error(redis.ResponseError, "syntax error", r.execute_command, "SET", "a", "b", "NOPE")
    expect_error(redis.ResponseError, "wrong number of arguments", r.execute_command, "GET")
    expect_error(redis.ResponseError, "unknown command", r.execute_command, "NOSUCH", "x")
    expect_error(redis.ResponseError, "invalid expire", r.set, "a", "b", ex=0)
    expect_error(redis.ResponseError, "no such key", r.rename, "nope", "x")
    expect_error(redis.ResponseError, "nknown", r.config_set, "no-such-parameter", "1")
    assert r.get("text") == "abc", "the connection goes on after errors"


@check
def passwords(r):
    try:
        r.config_set("requirepass", "secret")
        expect_error(redis.AuthenticationError, "", connect().ping)
        expect_error(redis.AuthenticationError, "", connect(password="wrong").ping)
        assert connect(password="secret").ping()
        assert connect(username="default", password="secret").ping()
    finally:
        r.config_set("requirepass", "")
    assert connect().ping()


@check
def lists(r):
    assert r.rpush("l", "a", "b", "c") == 3
    assert r.lpush("l", "0") == 4
    assert r.lrange("l", 0, -1) == ["0", "a", "b", "c"]
    assert r.lindex("l", -1) == "c" and r.llen("l") == 4
    assert r.lpos("l", "b") == 2
    assert r.linsert("l", "BEFORE", "b", "x") == 5
    assert r.lset("l", 0, "z") is True
    assert r.lrem("l", 0, "x") == 1
    assert r.lmove("l", "m", "LEFT", "RIGHT") == "z"
    assert r.lmpop(2, "none", "l", direction="LEFT", count=2) == ["l", ["a", "b"]]
    assert r.lpop("l", 5) == ["c"] and r.exists("l") == 0
    assert r.sort("m", alpha=True) == ["z"]
    expect_error(redis.ResponseError, "WRONGTYPE", r.incr, "m")


@check
def blocking(r):
    got = []
    waiting = threading.Thread(target=lambda: got.append(connect().blpop(["q1", "q2"], timeout=10)))
    waiting.start()
    deadline = time.time() + 10
    while r.info("clients")["blocked_clients"] == 0 and time.time() < deadline:
        time.sleep(0.005)
    assert r.rpush("q2", "job") == 1
    waiting.join()
    assert [list(pair) for pair in got] == [["q2", "job"]] and r.exists("q2") == 0
    assert r.blpop("q1", timeout=0.05) is None


@check
def sets(r):
    assert r.sadd("s1", "1", "2", "3") == 3 and r.sadd("s2", "2", "3", "x") == 3
    assert r.object("encoding", "s1") == "intset" and r.object("encoding", "s2") == "listpack"
    assert set(r.sinter("s1", "s2")) == {"2", "3"}
    assert set(r.sunion("s1", "s2")) == {"1", "2", "3", "x"}
    assert r.sdiffstore("d", "s1", "s2") == 1 and set(r.smembers("d")) == {"1"}
    assert r.sintercard(2, ["s1", "s2"], limit=1) == 1
    assert [bool(is_in) for is_in in r.smismember("s1", ["1", "9"])] == [True, False]
    assert r.smove("s1", "s2", "1") and r.scard("s2") == 4
    assert r.spop("d") == "1" and r.exists("d") == 0
    assert set(r.sscan_iter("s2")) == {"1", "2", "3", "x"}


@check
def hashes(r):
    assert r.hset("h", mapping={"a": "1", "b": "2"}) == 2
    assert r.hgetall("h") == {"a": "1", "b": "2"}
    assert r.hmget("h", "a", "none") == ["1", None]
    assert r.hincrby("h", "a", 5) == 6 and r.hincrbyfloat("h", "b", 0.5) == 2.5
    assert dict(r.hscan_iter("h")) == {"a": "6", "b": "2.5"}
    assert r.hexpire("h", 100, "a", "none") == [1, -2]
    assert 0 < r.httl("h", "a")[0] <= 100 and r.hpersist("h", "a") == [1]
    assert r.hpexpire("h", 20, "b") == [1]
    deadline = time.time() + 10
    while r.hexists("h", "b") and time.time() < deadline:
        time.sleep(0.005)
    assert r.hlen("h") == 1
    assert r.hdel("h", "a") == 1 and r.exists("h") == 0


@check
def sorted_sets(r):
    assert r.zadd("z", {"a": 1, "b": 2.5, "c": 3}) == 3
    pairs = [[member, score] for member, score in r.zrange("z", 0, -1, withscores=True)]
    assert pairs == [["a", 1.0], ["b", 2.5], ["c", 3.0]]
    assert r.zrangebyscore("z", "(1", "+inf") == ["b", "c"]
    assert r.zrank("z", "b") == 1 and r.zrevrank("z", "b") == 1
    assert r.zscore("z", "b") == 2.5 and r.zscore("z", "none") is None
    assert r.zincrby("z", 10, "a") == 11.0
    assert r.zcount("z", "-inf", 3) == 2
    assert r.zunionstore("u", {"z": 2}) == 3 and r.zscore("u", "a") == 22.0
    # Without a count RESP3 answers one pair, RESP2 a list of it.
    assert r.zpopmin("z") in (["b", 2.5], [("b", 2.5)])
    assert r.zremrangebyrank("z", 0, -1) == 2 and r.exists("z") == 0
    assert r.execute_command("ZEXPIRE", "u", 100, "MEMBERS", 1, "a") == [1]
    assert r.execute_command("ZTTL", "u", "MEMBERS", 2, "a", "b")[1] == -1


@check
def streams(r):
    ids = [r.xadd("st", {"n": str(i)}) for i in range(10)]
    assert r.xlen("st") == 10 and [entry[0] for entry in r.xrange("st")] == ids
    assert r.xgroup_create("st", "g", id="0") is True
    taken = r.xreadgroup("g", "one", {"st": ">"}, count=4)
    entries = taken["st"][0] if isinstance(taken, dict) else taken[0][1]
    assert [entry[0] for entry in entries] == ids[:4]
    assert r.xack("st", "g", *ids[:2]) == 2
    assert r.xpending("st", "g")["pending"] == 2
    claimed = r.xautoclaim("st", "g", "two", min_idle_time=0)
    assert [entry[0] for entry in claimed[1]] == ids[2:4]
    assert r.xtrim("st", maxlen=5, approximate=False) == 5


@check
def bits_sketches_places(r):
    assert r.setbit("bits", 7, 1) == 0 and r.getbit("bits", 7) == 1 and r.bitcount("bits") == 1
    assert r.bitfield("bits").incrby("u8", 8, 5).get("u8", 8).execute() == [5, 5]
    assert r.pfadd("p", *range(1000)) == 1 and 950 < r.pfcount("p") < 1050
    assert r.geoadd("g", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"]) == 2
    assert abs(float(r.geodist("g", "Palermo", "Catania", "km")) - 166.2742) < 1e-9
    assert r.geosearch("g", longitude=15, latitude=37, radius=100, unit="km") == ["Catania"]


def main():
    failed = 0
    for function in CHECKS:
        client = connect()
        client.flushall()
        try:
            function(client)
            print(f"ok      {function.__name__}")
        except Exception as error:  # a report per check, whatever went wrong
            failed += 1
            line = error.__traceback__
            while line.tb_next and "redis_py.py" in line.tb_next.tb_frame.f_code.co_filename:
                line = line.tb_next
            print(f"FAILED  {function.__name__}, line {line.tb_lineno}: {type(error).__name__}: {error}")
        client.close()
    print(f"redis-py {redis.__version__}: {len(CHECKS) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
