// Queues as they are built on streams and on lists, through ioredis; the server is killed again and again.
//
//     queues.cjs BINARY PROTOCOL [server option...]
//
// The same as queues.py, as BullMQ's users know it: one connection per client that reconnects by itself, commands that
// are sent again after a reconnection, and blocking reads on connections of their own. QUEUE_KILLS and QUEUE_LOSE as
// there.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { Redis } = require("ioredis");

const [binary, protocolText, ...extra] = process.argv.slice(2);
const protocol = Number(protocolText);
const kills = Number(process.env.QUEUE_KILLS || 5);
const lose = Number(process.env.QUEUE_LOSE || 0);
const STREAM = "jobs";
const GROUPS = ["mail", "audit"];
const CONSUMERS = 3;
const PRODUCERS = 2;
const WORKERS = 2;
// An entry that was handed out this long ago may be taken over.
const IDLE_MS = 250;
const DRAIN_MS = 30000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const chance = (share) => Math.random() < share;

function check(holds, text) {
  if (!holds) throw new Error(`the server did not keep its word: ${text}`);
}

function freePort() {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

class Server {
  constructor(port, policy, threads) {
    this.port = port;
    this.policy = policy;
    this.threads = threads;
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "queues-"));
  }

  start() {
    const config = path.join(this.dir, "server.conf");
    fs.writeFileSync(
      config,
      `port ${this.port}\nbind 127.0.0.1\ndir ${this.dir}\nsave ""\nappendonly yes\n` +
        `appendfsync ${this.policy}\nthreads ${this.threads}\nthreads-spread yes\nstream-node-max-entries 16\n`,
    );
    this.process = spawn(binary, [config, ...extra], { stdio: "ignore" });
    this.ended = new Promise((resolve) => this.process.once("exit", resolve));
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
    const log = path.join(this.dir, "appendonlydir");
    for (const name of lose && fs.existsSync(log) ? fs.readdirSync(log) : []) {
      const file = path.join(log, name);
      if (name.endsWith(".incr.aof")) fs.truncateSync(file, Math.max(0, fs.statSync(file).size - lose));
    }
  }
}

// What the clients know of the queue: all of it was answered by the server.
class Run {
  constructor(port) {
    this.port = port;
    this.producing = true;
    this.running = true;
    this.failure = null;
    this.clients = [];
    this.produced = new Set();
    this.listed = new Set();
    this.idsOfJobs = new Map();
    this.fresh = new Set();
    // "group id": when the acknowledgement was answered
    this.acknowledged = new Map();
    this.done = Object.fromEntries(GROUPS.map((group) => [group, new Set()]));
    this.finished = new Map();
    this.counts = {};
  }

  count(what, number = 1) {
    this.counts[what] = (this.counts[what] || 0) + number;
  }

  connect(options = {}) {
    const client = new Redis({
      port: this.port,
      protocol,
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
      ...options,
    });
    client.on("error", () => this.count("errors"));
    client.on("close", () => this.count("closed"));
    this.clients.push(client);
    return client;
  }

  // For commands that must not be sent again without looking: their connection breaks, and they with it.
  connectOnce() {
    return this.connect({ maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false });
  }

  // Repeats a step until the run ends; connections may break, promises may not.
  async guard(step) {
    while (this.running) {
      try {
        await step();
      } catch (error) {
        if (isConnection(error)) {
          this.count("reconnects");
          await pause(10);
        } else if (this.running) {
          this.failure ||= error;
          this.running = false;
        }
      }
    }
  }
}

function isConnection(error) {
  return (
    /Connection is closed|max retries|ECONNREFUSED|ECONNRESET|EPIPE|LOADING|Command aborted|Stream isn't writeable/i.test(
      `${error.name} ${error.message}`,
    ) || error.name === "MaxRetriesPerRequestError"
  );
}

const fieldsOf = (list) => (Array.isArray(list) ? Object.fromEntries(pairs(list)) : list);
const pairs = (list) => list.flatMap((_, at) => (at % 2 ? [] : [[list[at], list[at + 1]]]));

// The entries of one stream, whatever the protocol.
function entriesOf(reply) {
  if (!reply) return [];
  if (!Array.isArray(reply)) return reply[STREAM];
  return reply[0] === STREAM ? reply[1] : reply[0][1];
}

const addition = (job) => [STREAM, "MAXLEN", "~", 64, "ACKED", "*", "job", job, "payload", "x".repeat(job.length * 11)];

// One step under WATCH: `body` looks and queues the commands, or returns nothing. The outcome may stay unknown.
async function once(client, key, body) {
  await client.watch(key);
  const transaction = await body();
  if (!transaction) {
    await client.unwatch();
    return [];
  }
  const replies = await transaction.exec();
  if (replies) for (const [error] of replies) if (error) throw error;
  return replies;
}

function producer(run, number) {
  const client = run.connectOnce();
  const key = `produced:${number}`;
  let next = 0;
  return async () => {
    if (!run.producing) return pause(10);
    const job = `${number}-${next}`;
    const replies = await once(client, key, async () => {
      if (await client.hexists(key, job)) return null;
      const multi = client.multi().hset(key, job, "1");
      if (chance(0.2)) return multi.zadd("delayed", Date.now() + Math.random() * 300, job);
      return multi.xadd(...addition(job));
    });
    if (replies === null) return undefined;
    run.produced.add(job);
    next += 1;
    return pause(Math.random() * 3);
  };
}

// Jobs whose time has come go from the sorted set to the stream, in one step.
function mover(run) {
  const client = run.connectOnce();
  return async () => {
    const due = await client.zrangebyscore("delayed", "-inf", Date.now(), "LIMIT", 0, 5);
    for (const job of due) {
      const replies = await once(client, "delayed", async () => {
        if ((await client.zscore("delayed", job)) === null) return null;
        return client.multi().zrem("delayed", job).xadd(...addition(job));
      });
      if (replies && replies.length) {
        check(replies[0][1] === 1, `${job} was moved twice`);
        run.count("moved");
      }
    }
    if (!due.length) await pause(20);
  };
}

function consumer(run, group, number) {
  const reader = run.connectOnce();
  const client = run.connect();
  const name = `${group}-${number}`;
  const taken = new Map();

  function take(entries, askedAt, isFresh) {
    for (const [id, list] of entries) {
      check(list !== null, `${id} is pending in ${group}, but deleted`);
      const { job } = fieldsOf(list);
      const answered = run.acknowledged.get(`${group} ${id}`);
      check(answered === undefined || answered > askedAt, `${id} came to ${name} again after its acknowledgement`);
      const known = run.idsOfJobs.get(job) || id;
      check(known === id, `${job} is there twice: ${known}, ${id}`);
      run.idsOfJobs.set(job, id);
      if (isFresh) {
        check(!run.fresh.has(`${group} ${id}`), `${id} came as new to ${group} twice`);
        run.fresh.add(`${group} ${id}`);
      }
      run.done[group].add(job);
      taken.set(id, job);
    }
  }

  async function acknowledge() {
    const now = [];
    for (const id of [...taken.keys()]) {
      taken.delete(id);
      // The consumer fails now and then: somebody else has to take over.
      if (chance(0.1)) run.count("failed");
      else now.push(id);
    }
    if (!now.length) return;
    if (chance(0.4)) {
      await client.call("XACKDEL", STREAM, group, "ACKED", "IDS", now.length, ...now);
      run.count("XACKDEL");
    } else {
      const pipeline = client.pipeline();
      for (const id of now) pipeline.xack(STREAM, group, id);
      for (const [error] of await pipeline.exec()) if (error) throw error;
      run.count("XACK", now.length);
    }
    const at = performance.now();
    for (const id of now) {
      const key = `${group} ${id}`;
      if (!run.acknowledged.has(key)) run.acknowledged.set(key, at);
    }
  }

  return async () => {
    let askedAt = performance.now();
    const claims = number === 0 && chance(0.5);
    const options = ["COUNT", 1 + Math.floor(Math.random() * 8), "BLOCK", 100, ...(claims ? ["CLAIM", IDLE_MS] : [])];
    const reply = await reader.call("XREADGROUP", "GROUP", group, name, ...options, "STREAMS", STREAM, ">");
    const entries = entriesOf(reply);
    take(entries, askedAt, !claims);
    if (claims) run.count("CLAIM", entries.length);
    await acknowledge();
    if (chance(0.2)) {
      askedAt = performance.now();
      const [, claimed, deleted] = await reader.xautoclaim(STREAM, group, name, IDLE_MS, "0", "COUNT", 10);
      check(!deleted || !deleted.length, `pending in ${group}, but deleted: ${deleted}`);
      take(claimed, askedAt, false);
      run.count("XAUTOCLAIM", claimed.length);
      await acknowledge();
    }
  };
}

function observer(run) {
  const client = run.connect();
  return async () => {
    for (const group of GROUPS) {
      const replies = await client.multi().xpending(STREAM, group).xpending(STREAM, group, "-", "+", 10000).exec();
      const [[, [pending, , , consumers]], [, entries]] = replies;
      check(pending === entries.length, `${pending} pending, ${entries.length} listed`);
      const sum = (consumers || []).reduce((total, [, count]) => total + Number(count), 0);
      check(sum === pending, `${pending} pending, ${sum} of consumers`);
      await client.xpending(STREAM, group, "IDLE", IDLE_MS, "-", "+", 10);
    }
    const operator = chance(0.5) ? "~" : "=";
    run.count("trimmed", await client.xtrim(STREAM, "MAXLEN", operator, Math.floor(Math.random() * 64), "ACKED"));
    await pause(30);
  };
}

function listProducer(run, number) {
  const client = run.connectOnce();
  let next = 0;
  return async () => {
    if (!run.producing) return pause(10);
    const job = `${number}-${next}`;
    const key = `rq:job:${job}`;
    const replies = await once(client, key, async () => {
      if (await client.exists(key)) return null;
      return client.multi().hset(key, { status: "queued", data: job }).expire(key, 3600).lpush("rq:queue", job);
    });
    if (replies === null) return undefined;
    run.listed.add(job);
    next += 1;
    return pause(Math.random() * 4);
  };
}

function worker(run, number) {
  const client = run.connectOnce();
  const mine = `rq:working:${number}`;

  async function work(job, askedAt) {
    const key = `rq:job:${job}`;
    const answered = run.finished.get(job);
    check(answered === undefined || answered > askedAt, `${job} came again after it was finished`);
    const fields = await client.hgetall(key);
    check(fields.data === job && (await client.ttl(key)) > 0, `${job}: ${JSON.stringify(fields)}`);
    const multi = client.multi().lrem(mine, 1, job);
    const fails = chance(0.1);
    if (fails) multi.hincrby(key, "retries", 1).lpush("rq:queue", job);
    else multi.hset(key, "status", "finished").expire(key, 600);
    const [[error, removed]] = await multi.exec();
    if (error) throw error;
    check(removed === 1, `${job} was not in ${mine}`);
    if (!fails) run.finished.set(job, performance.now());
  }

  return async () => {
    // What came without that we got to know of it.
    let askedAt = performance.now();
    for (const job of await client.lrange(mine, 0, -1)) await work(job, askedAt);
    askedAt = performance.now();
    const job = await client.blmove("rq:queue", mine, "RIGHT", "LEFT", 0.1);
    if (job !== null) await work(job, askedAt);
  };
}

async function queued(client) {
  const lists = ["rq:queue", ...Array.from({ length: WORKERS }, (_, number) => `rq:working:${number}`)];
  let left = await client.zcard("delayed");
  for (const list of lists) left += await client.llen(list);
  for (const group of GROUPS) left += (await client.xpending(STREAM, group))[0];
  return left;
}

async function drain(run, client) {
  const end = Date.now() + DRAIN_MS;
  while (run.running && Date.now() < end) {
    const all = GROUPS.every((group) => run.done[group].size >= run.produced.size);
    if (all && (await queued(client)) === 0) return;
    await pause(50);
  }
}

// What is left on the server when everything is done.
async function compare(run, client) {
  check((await queued(client)) === 0, "something is left in the queues");
  for (const group of GROUPS) {
    const missing = [...run.produced].filter((job) => !run.done[group].has(job));
    check(!missing.length, `${group} never got ${missing.length} jobs: ${missing.slice(0, 5)}`);
    const unknown = [...run.done[group]].filter((job) => !run.produced.has(job));
    check(!unknown.length, `jobs that nobody produced: ${unknown.slice(0, 5)}`);
  }
  const info = fieldsOf(await client.xinfo("STREAM", STREAM));
  check(info["entries-added"] === run.produced.size, `${info["entries-added"]} entries of ${run.produced.size} jobs`);
  const length = await client.xlen(STREAM);
  check((await client.xtrim(STREAM, "MAXLEN", "=", 0, "ACKED")) === length, "not all entries are done");
  let kept = 0;
  for (let number = 0; number < PRODUCERS; number++) kept += await client.hlen(`produced:${number}`);
  check(kept === run.produced.size, `${kept} idempotence keys of ${run.produced.size} jobs`);
  for (const job of run.listed) {
    const key = `rq:job:${job}`;
    const [status, ttl] = [await client.hget(key, "status"), await client.ttl(key)];
    check(status === "finished" && ttl > 0 && ttl <= 600, `${key} is ${status}, ${ttl}`);
  }
  const { moved, failed, trimmed } = run.counts;
  check(moved && failed && trimmed, `too little was done: ${JSON.stringify(run.counts)}`);
}

async function ready(client) {
  while ((await client.ping()) !== "PONG") await pause(20);
}

async function killOften(run, server, client) {
  for (let number = 0; number < kills && run.running; number++) {
    await pause(200 + Math.random() * 600);
    if (number % 3 === 2) await client.bgrewriteaof();
    await server.kill();
    server.threads = 3 - server.threads;
    server.start();
    if (chance(0.3)) {
      await pause(Math.random() * 100);
      await server.kill();
      server.start();
    }
    await ready(client);
  }
}

// One life of a queue: several kills, then everything must come to its end.
async function live(policy, threads) {
  const server = new Server(await freePort(), policy, threads);
  const run = new Run(server.port);
  server.start();
  const client = run.connect();
  try {
    await ready(client);
    for (const group of GROUPS) await client.xgroup("CREATE", STREAM, group, "0", "MKSTREAM");
    const steps = [mover(run), mover(run), observer(run)];
    for (let number = 0; number < PRODUCERS; number++) steps.push(producer(run, number), listProducer(run, number));
    for (let number = 0; number < WORKERS; number++) steps.push(worker(run, number));
    for (const group of GROUPS) {
      for (let number = 0; number < CONSUMERS; number++) steps.push(consumer(run, group, number));
    }
    const loops = steps.map((step) => run.guard(step));
    await killOften(run, server, client);
    run.producing = false;
    await drain(run, client);
    run.running = false;
    await Promise.race([Promise.all(loops), pause(15000)]);
    if (!run.failure) await compare(run, client);
  } catch (error) {
    run.failure ||= error;
  }
  run.running = false;
  for (const each of run.clients) each.disconnect();
  await server.kill();
  fs.rmSync(server.dir, { recursive: true, force: true });
  const name = `queues, appendfsync ${policy}, threads ${threads}`;
  if (run.failure) {
    console.log(`FAILED  ${name}\n${run.failure.stack}`);
    return false;
  }
  console.log(`ok      ${name}: ${run.produced.size} jobs, ${run.listed.size} in lists; ${JSON.stringify(run.counts)}`);
  return true;
}

async function main() {
  let failed = 0;
  let passed = 0;
  for (const policy of ["everysec", "always"]) {
    for (const threads of [1, 2]) {
      if (await live(policy, threads)) passed += 1;
      else failed += 1;
    }
  }
  const { version } = require("ioredis/package.json");
  console.log(`ioredis ${version}: ${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
