"""Queues as they are built on streams and on lists, through redis-py; the server is killed again and again.

    queues.py BINARY PROTOCOL [server option...]

Producers add each job once (what was added is kept in a hash, under WATCH), some of them later, out of a sorted set.
Two groups of consumers read the stream, fail now and then, and take over from each other. Next to it there is a
queue of lists with a hash per job. The server dies by SIGKILL at random moments and starts again on its files.

In the end every job that a producer was told of has been done by both groups; no entry was handed out again after
its acknowledgement had been answered; there is nothing twice and nothing left.

QUEUE_KILLS is how often the server dies in each of the four runs, QUEUE_SEED repeats the choices of clients. To see
the checks fail: `--appendonly no` behind the arguments, or QUEUE_LOSE=N, which cuts the last N bytes off the log
after each kill, as if the server answered before it wrote.
"""

import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter

import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry

BINARY, PROTOCOL, EXTRA = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
KILLS = int(os.environ.get("QUEUE_KILLS", "5"))
LOSE = int(os.environ.get("QUEUE_LOSE", "0"))
STREAM, GROUPS, CONSUMERS = "jobs", ("mail", "audit"), 3
PRODUCERS, WORKERS = 2, 2
# An entry that was handed out this long ago may be taken over.
IDLE_MS = 250
DRAIN_SECONDS = 30


class Broken(Exception):
    """The server did not keep its word."""


class Server:
    def __init__(self, policy, threads):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.dir = tempfile.mkdtemp(prefix="queues-")
        self.config = os.path.join(self.dir, "server.conf")
        self.policy, self.threads, self.process = policy, threads, None
        self.start()

    def start(self):
        with open(self.config, "w", encoding="ascii") as file:
            file.write(
                f"port {self.port}\nbind 127.0.0.1\ndir {self.dir}\nsave \"\"\nappendonly yes\n"
                f"appendfsync {self.policy}\nthreads {self.threads}\nthreads-spread yes\n"
                "stream-node-max-entries 16\n"
            )
        log = open(os.path.join(self.dir, "log"), "ab")
        command = [BINARY, self.config, *EXTRA]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self):
        client = connect(self.port)
        deadline = time.monotonic() + 20
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for name in glob.glob(os.path.join(self.dir, "*", "*.incr.aof")) if LOSE else ():
            os.truncate(name, max(0, os.path.getsize(name) - LOSE))

    def clean_up(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def connect(port, retries=0):
    retry = Retry(ConstantBackoff(0.02) if retries else NoBackoff(), retries)
    return redis.Redis(port=port, protocol=PROTOCOL, socket_timeout=10, retry=retry, decode_responses=True)


class Run:
    """What the clients know of the queue: all of it was answered by the server."""

    def __init__(self, port):
        self.port = port
        self.lock = threading.Lock()
        self.producing, self.running = True, True
        self.failures = []
        self.produced, self.listed = set(), set()
        # (group, id): when the acknowledgement was answered
        self.acknowledged = {}
        self.tried = set()
        self.fresh = set()
        self.jobs_of_ids = {}
        self.done = {group: Counter() for group in GROUPS}
        self.finished = {}
        self.worked = Counter()
        self.counts = Counter()

    def check(self, holds, text):
        if not holds:
            raise Broken(text)

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def guard(self, step, seed):
        """Repeats a step until the run ends; connections may break, promises may not."""
        random_numbers = random.Random(seed)
        while self.running:
            try:
                step(random_numbers)
            except (redis.ConnectionError, redis.TimeoutError):
                self.count("reconnects")
                time.sleep(0.01)
            except Exception:  # reported at the end, with its place
                self.failures.append(traceback.format_exc())
                self.running = False


def add_job(run, job):
    return {"job": job, "payload": "x" * (len(job) * 7 % 90)}


def producer(run, number):
    client = connect(run.port, retries=200)
    state = {"next": 0}
    key = f"produced:{number}"

    def step(chance):
        if not run.producing:
            time.sleep(0.01)
            return
        job = f"{number}-{state['next']}"
        delayed = chance.random() < 0.2
        while run.running:
            try:
                with client.pipeline() as pipe:
                    pipe.watch(key)
                    if not pipe.hexists(key, job):
                        pipe.multi()
                        pipe.hset(key, job, "delayed" if delayed else "now")
                        if delayed:
                            pipe.zadd("delayed", {job: time.time() + chance.random() * 0.3})
                        else:
                            pipe.xadd(STREAM, add_job(run, job), maxlen=64, approximate=True, ref_policy="ACKED")
                        pipe.execute()
                break
            except redis.WatchError:  # or the connection broke: was it added?
                run.count("unsure")
                time.sleep(0.01)
        with run.lock:
            run.produced.add(job)
        state["next"] += 1
        time.sleep(chance.random() * 0.003)

    return step


def mover(run):
    """Jobs whose time has come go from the sorted set to the stream, in one step."""
    client = connect(run.port, retries=200)

    def step(_):
        due = client.zrange("delayed", "-inf", time.time(), byscore=True, offset=0, num=5)
        for job in due:
            try:
                with client.pipeline() as pipe:
                    pipe.watch("delayed")
                    if pipe.zscore("delayed", job) is None:
                        continue
                    pipe.multi()
                    pipe.zrem("delayed", job)
                    pipe.xadd(STREAM, add_job(run, job), maxlen=64, approximate=True, ref_policy="ACKED")
                    removed, _ = pipe.execute()
                    run.check(removed == 1, f"{job} was moved twice")
                    run.count("moved")
            except redis.WatchError:
                run.count("unsure")
        if not due:
            time.sleep(0.02)

    return step


def entries_of(reply):
    """The entries of one stream, whatever the protocol: (id, fields)."""
    if not reply:
        return []
    entries = reply[STREAM][0] if isinstance(reply, dict) else reply[0][1]
    return [(entry[0], entry[1]) for entry in entries]


def consumer(run, group, number):
    client = connect(run.port)
    name = f"{group}-{number}"
    to_acknowledge = {}

    def take(entries, asked_at, is_fresh):
        for entry_id, fields in entries:
            run.check(fields is not None, f"{entry_id} is pending in {group}, but deleted")
            with run.lock:
                answered = run.acknowledged.get((group, entry_id))
                run.check(
                    answered is None or answered > asked_at,
                    f"{entry_id} came to {name} again after its acknowledgement",
                )
                known = run.jobs_of_ids.setdefault(fields["job"], entry_id)
                run.check(known == entry_id, f"{fields['job']} is there twice: {known}, {entry_id}")
                if is_fresh:
                    run.check((group, entry_id) not in run.fresh, f"{entry_id} came as new to {group} twice")
                    run.fresh.add((group, entry_id))
                run.done[group][fields["job"]] += 1
            to_acknowledge[entry_id] = fields["job"]

    def acknowledge(chance):
        for entry_id in list(to_acknowledge):
            if chance.random() < 0.1:
                # The consumer fails: somebody else has to take over.
                del to_acknowledge[entry_id]
                run.count("failed")
                continue
            with run.lock:
                first = (group, entry_id) not in run.tried
                run.tried.add((group, entry_id))
            if chance.random() < 0.4:
                reply = client.xackdel(STREAM, group, entry_id, ref_policy="ACKED")[0]
                took = reply != -1
                run.count(f"XACKDEL {reply}")
            else:
                took = client.xack(STREAM, group, entry_id) == 1
                run.count("XACK")
            run.check(took or not first, f"{entry_id} was not pending in {group} any more")
            with run.lock:
                run.acknowledged.setdefault((group, entry_id), time.monotonic())
            del to_acknowledge[entry_id]

    def step(chance):
        # What was not answered is acknowledged again.
        acknowledge(chance)
        asked_at = time.monotonic()
        options = {"count": chance.randint(1, 8), "block": 100}
        if number == 0 and chance.random() < 0.5:
            reply = client.xreadgroup(group, name, {STREAM: ">"}, claim_min_idle_time=IDLE_MS, **options)
            entries = entries_of(reply)
            take(entries, asked_at, False)
            run.count("CLAIM", len(entries))
        else:
            take(entries_of(client.xreadgroup(group, name, {STREAM: ">"}, **options)), asked_at, True)
        acknowledge(chance)
        if chance.random() < 0.2:
            asked_at = time.monotonic()
            reply = client.xautoclaim(STREAM, group, name, IDLE_MS, count=10)
            run.check(not (len(reply) > 2 and reply[2]), f"pending in {group}, but deleted: {reply[2:]}")
            take([(entry[0], entry[1]) for entry in reply[1]], asked_at, False)
            run.count("XAUTOCLAIM", len(reply[1]))
            acknowledge(chance)

    return step


def observer(run):
    client = connect(run.port, retries=200)

    def step(chance):
        for group in GROUPS:
            with client.pipeline() as pipe:
                pipe.xpending(STREAM, group)
                pipe.xpending_range(STREAM, group, "-", "+", 10_000)
                summary, pending = pipe.execute()
            run.check(summary["pending"] == len(pending), f"{summary} and {len(pending)} entries")
            by_consumer = Counter(entry["consumer"] for entry in pending)
            found = {consumer["name"]: int(consumer["pending"]) for consumer in summary["consumers"] or []}
            run.check(by_consumer == found, f"{by_consumer} and {found}")
            client.xpending_range(STREAM, group, "-", "+", 10, idle=IDLE_MS)
        trimmed = client.xtrim(STREAM, maxlen=chance.randint(0, 64), approximate=chance.random() < 0.5, ref_policy="ACKED")
        run.count("trimmed", trimmed)
        time.sleep(0.03)

    return step


def list_producer(run, number):
    client = connect(run.port, retries=200)
    state = {"next": 0}

    def step(chance):
        if not run.producing:
            time.sleep(0.01)
            return
        job = f"{number}-{state['next']}"
        key = f"rq:job:{job}"
        while run.running:
            try:
                with client.pipeline() as pipe:
                    pipe.watch(key)
                    if not pipe.exists(key):
                        pipe.multi()
                        pipe.hset(key, mapping={"status": "queued", "data": job * 3})
                        pipe.expire(key, 3600)
                        pipe.lpush("rq:queue", job)
                        pipe.execute()
                break
            except redis.WatchError:
                run.count("unsure")
        with run.lock:
            run.listed.add(job)
        state["next"] += 1
        time.sleep(chance.random() * 0.004)

    return step


def worker(run, number):
    client = connect(run.port)
    mine = f"rq:working:{number}"

    def work(job, asked_at, chance):
        key = f"rq:job:{job}"
        with run.lock:
            answered = run.finished.get(job)
        run.check(answered is None or answered > asked_at, f"{job} came again after it was finished")
        fields = client.hgetall(key)
        run.check(fields.get("data") == job * 3 and client.ttl(key) > 0, f"{job}: {fields}")
        run.count("listed")
        with run.lock:
            run.worked[job] += 1
        with client.pipeline() as pipe:
            pipe.lrem(mine, 1, job)
            if chance.random() < 0.1:
                pipe.hincrby(key, "retries", 1)
                pipe.lpush("rq:queue", job)
                removed = pipe.execute()[0]
            else:
                pipe.hset(key, "status", "finished")
                pipe.expire(key, 600)
                removed = pipe.execute()[0]
                with run.lock:
                    run.finished.setdefault(job, time.monotonic())
            run.check(removed == 1, f"{job} was not in {mine}")

    def step(chance):
        # What came without that we got to know of it.
        asked_at = time.monotonic()
        for job in client.lrange(mine, 0, -1):
            work(job, asked_at, chance)
        asked_at = time.monotonic()
        job = client.blmove("rq:queue", mine, 0.1, "RIGHT", "LEFT")
        if job is not None:
            work(job, asked_at, chance)

    return step


def all_done(run):
    """Whether everything is acknowledged, as far as the clients know."""
    with run.lock:
        for group in GROUPS:
            done = {run.jobs_of_ids[job] for job in run.done[group]}
            if run.produced - set(run.done[group]):
                return False
            if any((group, entry_id) not in run.acknowledged for entry_id in done):
                return False
        return not (run.listed - set(run.worked))


def compare(run):
    """What is left on the server when everything is done."""
    client = connect(run.port, retries=50)
    for group in GROUPS:
        missing = run.produced - set(run.done[group])
        run.check(not missing, f"{group} never got {len(missing)} jobs: {sorted(missing)[:5]}")
        pending = client.xpending(STREAM, group)["pending"]
        run.check(pending == 0, f"{pending} entries are pending in {group}")
    unknown = {job for group in GROUPS for job in run.done[group]} - run.produced
    run.check(not unknown, f"jobs that nobody produced: {sorted(unknown)[:5]}")
    info = client.xinfo_stream(STREAM)
    added, length = info["entries-added"], info["length"]
    run.check(added == len(run.produced), f"{added} entries of {len(run.produced)} jobs")
    run.check(client.xtrim(STREAM, maxlen=0, approximate=False, ref_policy="ACKED") == length, "not all entries are done")
    kept = sum(client.hlen(f"produced:{number}") for number in range(PRODUCERS))
    run.check(kept == len(run.produced), f"{kept} idempotence keys of {len(run.produced)} jobs")
    run.check(client.zcard("delayed") == 0, "delayed jobs are left")
    run.check(client.llen("rq:queue") == 0, "queued jobs are left")
    for number in range(WORKERS):
        run.check(client.llen(f"rq:working:{number}") == 0, "jobs of a worker are left")
    for job in run.listed:
        key = f"rq:job:{job}"
        status = client.hget(key, "status")
        run.check(status == "finished" and 0 < client.ttl(key) <= 600, f"{key} is {status}, {client.ttl(key)}")
    run.check(run.counts["moved"] and run.counts["failed"] and run.counts["trimmed"], f"too little: {run.counts}")


def drain(run):
    deadline = time.monotonic() + DRAIN_SECONDS
    client = connect(run.port, retries=50)
    while run.running and time.monotonic() < deadline:
        queues = [client.llen(key) for key in ("rq:queue", *(f"rq:working:{n}" for n in range(WORKERS)))]
        if all_done(run) and client.zcard("delayed") == 0 and not any(queues):
            return
        time.sleep(0.05)


def once(policy, threads, seed):
    """One life of a queue: KILLS kills, then everything must come to its end."""
    server = Server(policy, threads)
    run = Run(server.port)
    chance = random.Random(seed)
    try:
        server.wait()
        setup = connect(server.port)
        for group in GROUPS:
            setup.xgroup_create(STREAM, group, id="0", mkstream=True)
        steps = [producer(run, number) for number in range(PRODUCERS)] + [mover(run), mover(run), observer(run)]
        steps += [consumer(run, group, number) for group in GROUPS for number in range(CONSUMERS)]
        steps += [list_producer(run, number) for number in range(PRODUCERS)]
        steps += [worker(run, number) for number in range(WORKERS)]
        clients = [
            threading.Thread(target=run.guard, args=(step, f"{seed} {number}"), daemon=True)
            for number, step in enumerate(steps)
        ]
        for thread in clients:
            thread.start()
        for number in range(KILLS):
            time.sleep(0.2 + chance.random() * 0.6)
            if number % 3 == 2:
                setup = connect(server.port, retries=50)
                setup.bgrewriteaof()
                time.sleep(chance.random() * 0.02)
            server.kill()
            server.threads = 3 - server.threads
            server.start()
            if chance.random() < 0.3:
                time.sleep(chance.random() * 0.1)
                server.kill()
                server.start()
            if not run.running:
                break
            server.wait()
        run.producing = False
        drain(run)
        run.running = False
        for thread in clients:
            thread.join(15)
        if not run.failures:
            compare(run)
    except Exception:  # reported like the failures of the clients
        run.failures.append(traceback.format_exc())
    finally:
        run.running = False
        server.clean_up()
    name = f"queues, appendfsync {policy}, threads {threads}"
    if run.failures:
        print(f"FAILED  {name}, seed {seed}\n{run.failures[0]}")
        return False
    counts = ", ".join(f"{what} {number}" for what, number in sorted(run.counts.items()))
    print(f"ok      {name}: {len(run.produced)} jobs, {len(run.listed)} in lists; {counts}")
    return True


def main():
    seed = int(os.environ.get("QUEUE_SEED", time.time_ns() % 1_000_000))
    runs = [(policy, threads) for policy in ("everysec", "always") for threads in (1, 2)]
    passed = [once(policy, threads, seed) for policy, threads in runs]
    print(f"redis-py {redis.__version__}: {sum(passed)} passed, {len(passed) - sum(passed)} failed")
    sys.exit(0 if all(passed) else 1)


main()
