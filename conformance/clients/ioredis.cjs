// Everyday use through ioredis. Arguments: port, protocol version (2 or 3).

const assert = require("node:assert/strict");
const { Redis } = require("ioredis");

const port = Number(process.argv[2]);
const protocol = Number(process.argv[3]);
const connect = (options = {}) =>
  new Redis({ port, protocol, connectTimeout: 10000, commandTimeout: 10000, ...options });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const checks = {
  async strings(r) {
    assert.equal(await r.set("s", "hello"), "OK");
    assert.equal(await r.get("s"), "hello");
    assert.equal(await r.set("s", "x", "NX"), null);
    assert.equal(await r.set("s", "bye", "EX", 100, "GET"), "hello");
    assert.equal(await r.append("s", "!"), 4);
    assert.equal(await r.getrange("s", 0, 1), "by");
    assert.equal(await r.getdel("s"), "bye!");
    assert.equal(await r.mset(new Map([["a", "1"], ["b", "2"]])), "OK");
    assert.deepEqual(await r.mget("a", "b", "none"), ["1", "2", null]);
    assert.equal(await r.incrby("n", 5), 5);
    assert.equal(await r.incrbyfloat("f", 2.5), "2.5");
    const bytes = Buffer.from(Array.from({ length: 100000 }, (_, i) => i % 256));
    await r.set(Buffer.from("bin\r\n\0"), bytes);
    assert.deepEqual(await r.getBuffer("bin\r\n\0"), bytes);
  },

  async keysAndExpiry(r) {
    await r.set("k", "1", "PX", 30);
    await r.set("l", "1", "EX", 1000);
    assert.ok((await r.ttl("l")) > 990);
    const end = Date.now() + 10000;
    while ((await r.exists("k")) && Date.now() < end) await pause(10);
    assert.equal(await r.get("k"), null);
    assert.equal(await r.persist("l"), 1);
    assert.equal(await r.pttl("l"), -1);
    assert.equal(await r.rename("l", "m"), "OK");
    assert.equal(await r.type("m"), "string");
    assert.deepEqual(await r.keys("*"), ["m"]);
    assert.equal(await r.unlink("m", "none"), 1);
    assert.equal(await r.object("ENCODING", "none"), null);
  },

  async databases(r) {
    const other = connect({ db: 3 });
    await r.set("d", "zero");
    await other.set("d", "three");
    assert.equal(await r.get("d"), "zero");
    assert.equal(await r.select(3), "OK");
    assert.equal(await r.get("d"), "three");
    assert.equal(await other.flushdb(), "OK");
    assert.equal(await r.dbsize(), 0);
    other.disconnect();
  },

  async pipelines(r) {
    const pipeline = r.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.set(`p${i}`, i).get(`p${i}`);
    const replies = await pipeline.exec();
    assert.equal(replies.length, 2000);
    replies.forEach(([error, reply], i) => {
      assert.equal(error, null);
      assert.equal(reply, i % 2 ? String((i - 1) / 2) : "OK");
    });
    const mixed = await r.pipeline().set("t", "x").incr("t").get("t").exec();
    assert.match(mixed[1][0].message, /not an integer/);
    assert.equal(mixed[2][1], "x");
    const auto = connect({ enableAutoPipelining: true });
    const values = await Promise.all([...Array(200).keys()].map((i) => auto.get(`p${i}`)));
    assert.deepEqual(values, [...Array(200).keys()].map(String));
    auto.disconnect();
  },

  async transactions(r) {
    assert.deepEqual(await r.multi().set("t", 1).incr("t").exec(), [[null, "OK"], [null, 2]]);
    const other = connect();
    await r.watch("t");
    await other.set("t", "changed");
    assert.equal(await r.multi().set("t", 5).exec(), null);
    assert.equal(await r.get("t"), "changed");
    await assert.rejects(r.multi().set("t").exec(), /EXECABORT/);
    await r.multi({ pipeline: false });
    assert.equal(await r.get("t"), "QUEUED");
    assert.equal(await r.discard(), "OK");
    other.disconnect();
  },

  async scanning(r) {
    const pipeline = r.pipeline();
    for (let i = 0; i < 2000; i++) pipeline.set(`scan:${i}`, 1);
    await pipeline.exec();
    const found = [];
    for await (const keys of r.scanStream({ match: "scan:*", count: 50 })) found.push(...keys);
    assert.equal(found.length, 2000);
    assert.equal(new Set(found).size, 2000);
  },

  async administration(r) {
    assert.match(await r.info(), /redis_version:\d+\./);
    assert.match(await r.info("server"), /lodestore_version/);
    await r.client("SETNAME", "from-node");
    assert.match(await r.client("LIST"), /name=from-node/);
    assert.match(await r.client("INFO"), new RegExp(`resp=${protocol}`));
    assert.equal(await r.config("SET", "timeout", 77), "OK");
    assert.deepEqual(await r.config("GET", "timeout"), ["timeout", "77"]);
    await r.config("SET", "timeout", 0);
    assert.ok((await r.command("COUNT")) > 50);
    assert.deepEqual(await r.command("GETKEYS", "GET", "x"), ["x"]);
    assert.equal((await r.time()).length, 2);
    if (protocol === 3) {
      const mapped = connect({ replyMapping: "resp3" });
      assert.equal((await mapped.config("GET", "timeout")).timeout, "0");
      mapped.disconnect();
    }
  },

  async errors(r) {
    await r.set("t", "x");
    await assert.rejects(r.incr("t"), /not an integer/);
    await assert.rejects(r.call("NOSUCH"), /unknown command/);
    await assert.rejects(r.call("GET"), /wrong number of arguments/);
    await assert.rejects(r.set("t", "x", "EX", 0), /invalid expire/);
    assert.equal(await r.get("t"), "x");
  },

  async reconnecting(r) {
    const victim = connect({ db: 2, retryStrategy: () => 5 });
    await victim.set("here", "db2");
    const id = await victim.client("ID");
    assert.equal(await r.client("KILL", "ID", id), 1);
    const end = Date.now() + 10000;
    while (victim.status === "ready" && Date.now() < end) await pause(5);
    assert.equal(await victim.get("here"), "db2");
    assert.notEqual(await victim.client("ID"), id);
    victim.disconnect();
  },

  async passwords(r) {
    const quiet = { retryStrategy: () => null, maxRetriesPerRequest: 0 };
    const refused = async (options) => {
      const client = connect({ ...quiet, ...options });
      client.on("error", () => {});
      await assert.rejects(client.get("x"));
      client.disconnect();
    };
    await r.config("SET", "requirepass", "secret");
    try {
      await refused({});
      await refused({ password: "wrong" });
      const good = connect({ password: "secret" });
      assert.equal(await good.ping(), "PONG");
      good.disconnect();
    } finally {
      await r.config("SET", "requirepass", "");
    }
  },

  async collections(r) {
    assert.equal(await r.rpush("l", "a", "b", "c"), 3);
    assert.deepEqual(await r.lrange("l", 0, -1), ["a", "b", "c"]);
    assert.equal(await r.lpop("l"), "a");
    assert.equal(await r.hset("h", { a: 1, b: 2 }), 2);
    assert.deepEqual(await r.hgetall("h"), { a: "1", b: "2" });
    assert.equal(await r.sadd("s", 1, 2, 3), 3);
    assert.deepEqual((await r.smembers("s")).map(String).sort(), ["1", "2", "3"]);
    assert.equal(await r.zadd("z", 1, "one", 2, "two"), 2);
    assert.deepEqual(await r.zrange("z", 0, -1), ["one", "two"]);
    assert.equal(Number(await r.zscore("z", "two")), 2);
    await assert.rejects(r.incr("l"), /WRONGTYPE/);
  },

  async blocking(r) {
    const waiting = connect();
    const popped = waiting.blpop("q", 10);
    while (!(await r.info("clients")).includes("blocked_clients:1")) await pause(5);
    assert.equal(await r.lpush("q", "job"), 1);
    assert.deepEqual(await popped, ["q", "job"]);
    waiting.disconnect();
  },

  async streams(r) {
    const id = await r.xadd("st", "*", "field", "value");
    assert.equal(await r.xgroup("CREATE", "st", "g", "0"), "OK");
    const taken = await r.xreadgroup("GROUP", "g", "c", "COUNT", 5, "STREAMS", "st", ">");
    const entries = Array.isArray(taken) ? taken[0][1] : taken.st;
    assert.deepEqual(entries, [[id, ["field", "value"]]]);
    assert.equal(await r.xack("st", "g", id), 1);
  },
};

async function main() {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    const client = connect();
    await client.flushall();
    try {
      await check(client);
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}: ${error.stack}`);
    }
    client.disconnect();
  }
  const { version } = require("ioredis/package.json");
  console.log(`ioredis ${version}: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

main();
