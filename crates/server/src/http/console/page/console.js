"use strict";
// What comes from the server is put on the page as text only (textContent), never as markup.

const STRING_PAGE = 16384;
const PAGE = 100;
/** How long one click looks for keys, in milliseconds. */
const FIND_MS = 3000;
const session = { auth: null, db: 0, last: null, rates: [], names: null, docs: new Map() };
const $ = (id) => document.getElementById(id);

/** Makes an element. Strings among the children become text. */
function el(tag, options = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), ...children);
}

function wide(made) {
  made.classList.add("wide");
  return made;
}

function table(heads, rows) {
  const isNumber = heads.map((head) => head.startsWith("#"));
  const cell = (kind, value, at) => el(kind, isNumber[at] ? { class: "number" } : {}, value ?? "");
  const head = el("tr", {}, heads.map((name, at) => {
    const made = cell("th", name.replace("#", ""), at);
    made.setAttribute("scope", "col");
    return made;
  }));
  const body = rows.map((row) => el("tr", {}, row.map((value, at) => cell("td", value, at))));
  // A group and no region: a page has many tables, and landmarks have names of their own.
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": heads[0].replace("#", "") + " table" },
    el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

// ---- Values ------------------------------------------------------------------------------------

/** Text in which everything that is not visible is escaped, as in the CLI. */
function visible(text) {
  return text.replace(/[\\\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (letter) => {
    const known = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }[letter];
    const code = letter.charCodeAt(0);
    return known ?? (code < 256 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0"));
  });
}

function unhex(hex) {
  return hex.replace(/../g, (pair) => {
    const code = parseInt(pair, 16);
    const letter = String.fromCharCode(code);
    return code >= 0x20 && code < 0x7f && letter !== "\\" ? letter : letter === "\\" ? "\\\\" : "\\x" + pair;
  });
}

// Arrays have a method of this name.
const isMap = (value) => Array.isArray(value?.map);

/** A value on one line. */
function show(value) {
  if (value === null) return "(nil)";
  if (typeof value === "string") return visible(value);
  if (typeof value !== "object") return String(value);
  if (value.error !== undefined) return "(error) " + visible(value.error);
  if (value.status !== undefined) return visible(value.status);
  if (value.number !== undefined) return value.number;
  const more = value.len === undefined ? "" : ` … (${count(value.len)} bytes)`;
  if (value.hex !== undefined) return unhex(value.hex) + more;
  if (value.text !== undefined) return visible(value.text) + more;
  if (isMap(value)) return "{" + value.map.map(([k, v]) => show(k) + ": " + show(v)).join(", ") + "}";
  return "[" + (value.set ?? value).map(show).join(", ") + "]";
}

/** A value over several lines, for the command line. */
function tree(value, indent = "") {
  const list = value && (value.set ?? (Array.isArray(value) ? value : null));
  if (isMap(value)) {
    if (!value.map.length) return "(empty)";
    return value.map.map(([k, v], at) => `${at ? indent : ""}${show(k)} => ${tree(v, indent + "  ")}`).join("\n");
  }
  if (list) {
    if (!list.length) return "(empty)";
    return list.map((v, at) => `${at ? indent : ""}${at + 1}) ${tree(v, indent + "   ")}`).join("\n");
  }
  if (typeof value === "number") return "(integer) " + value;
  // Texts of several lines, as that of INFO, are shown as such.
  if (typeof value === "string") return value.includes("\n") ? value.split("\n").map(visible).join("\n").replaceAll("\\r", "") : visible(value);
  return show(value);
}

/** A value of a reply as an argument. */
function argument(value) {
  if (value?.hex !== undefined && value.len === undefined) return { hex: value.hex };
  return typeof value === "string" ? value : show(value);
}

function pairs(value) {
  if (isMap(value)) return value.map;
  const made = [];
  for (let at = 0; at + 1 < (value?.length ?? 0); at += 2) made.push([value[at], value[at + 1]]);
  return made;
}

const isError = (value) => value?.error !== undefined;
const count = (number) => Number(number).toLocaleString("en");
function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (number = Number(number); number >= 1024 && at < 4; at += 1) number /= 1024;
  return `${number.toFixed(at ? 1 : 0)} ${units[at]}`;
}
function lifetime(ms) {
  if (ms < 0) return "no expiry";
  return ms < 10000 ? `${ms} ms` : `${count(Math.round(ms / 1000))} s`;
}

/** The fields of INFO. */
function fields(text) {
  const made = new Map();
  for (const line of String(text ?? "").split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0 && line[0] !== "#") made.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return made;
}
const parts = (text) => Object.fromEntries(text.split(",").map((part) => part.split("=")));

// ---- The endpoint --------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function run(commands) {
  const headers = { "Content-Type": "application/json", "X-Lodestore-Console": "1" };
  if (session.auth) headers.Authorization = session.auth;
  const body = JSON.stringify({ db: session.db, write: $("writes").checked, commands });
  const answer = await fetch("/console/api", { method: "POST", headers, body, cache: "no-store", credentials: "omit" });
  if (!answer.ok) throw new Refused(answer.status, (await answer.text()).trim());
  return (await answer.json()).replies;
}

function say(text, isBad = false) {
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").classList.toggle("bad", isBad);
}

/** Runs work that talks to the server; shows what goes wrong. */
async function attempt(work) {
  try {
    await work();
    return true;
  } catch (error) {
    if (error.status === 401) askLogin(session.auth ? error.message : "");
    else if (error.status) say(error.message, true);
    else if (error instanceof TypeError) say("The connection is lost; trying again …", true);
    else say(String(error), true);
    return false;
  }
}

function askLogin(text) {
  $("login-error").textContent = text;
  if (!$("login").open) $("login").showModal();
}

$("login-form").addEventListener("submit", () => {
  const raw = new TextEncoder().encode(`${$("user").value || "default"}:${$("password").value}`);
  session.auth = "Basic " + btoa(String.fromCharCode(...raw));
  $("password").value = "";
  $("logout").hidden = false;
  session.last = null;
  begin();
});
$("logout").addEventListener("click", () => {
  session.auth = null;
  $("logout").hidden = true;
  $("view").replaceChildren();
  begin();
});

// ---- Views -----------------------------------------------------------------------------------------

function line(points, label) {
  const most = Math.max(1, ...points);
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 100 30");
  made.setAttribute("preserveAspectRatio", "none");
  made.setAttribute("class", "line");
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `${label}: now ${count(points.at(-1) ?? 0)}, at most ${count(most)}`);
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const step = 100 / Math.max(1, points.length - 1);
  drawn.setAttribute("points", points.map((y, x) => `${(x * step).toFixed(2)},${(29 - 28 * y / most).toFixed(2)}`).join(" "));
  made.append(drawn);
  return made;
}

const figure = (name, value) => el("div", { class: "figure" }, el("b", {}, value), el("span", {}, name));
const facts = (info, names) => table(["Field", "#Value"],
  names.filter((name) => info.has(name)).map((name) => [name, info.get(name)]));

async function overview() {
  const [text] = await run([["INFO"]]);
  if (isError(text)) return [section("Overview", el("p", { class: "error" }, show(text)))];
  const info = fields(text?.text ?? text);
  const number = (name) => Number(info.get(name) ?? 0);
  const now = performance.now();
  const done = number("total_commands_processed");
  const before = session.last;
  session.last = { now, done };
  if (before && done >= before.done) {
    session.rates.push(Math.round((done - before.done) * 1000 / (now - before.now)));
    if (session.rates.length > 120) session.rates.shift();
  }
  const hits = number("keyspace_hits");
  const asked = hits + number("keyspace_misses");
  const keys = [...info].filter(([name]) => /^db\d+$/.test(name)).map(([name, value]) => [name, parts(value)]);
  const limit = number("maxmemory");
  return [
    wide(section("Now", el("div", { class: "figures", id: "figures" },
      figure("commands a second", count(session.rates.at(-1) ?? 0)),
      figure("clients", info.get("connected_clients")),
      figure("blocked", info.get("blocked_clients")),
      figure("keys", count(keys.reduce((sum, [, db]) => sum + Number(db.keys), 0))),
      figure(limit ? `of ${bytes(limit)}` : "memory", bytes(number("used_memory"))),
      figure("hits", asked ? (100 * hits / asked).toFixed(1) + " %" : "–"),
      figure("KiB/s in", info.get("instantaneous_input_kbps")),
      figure("KiB/s out", info.get("instantaneous_output_kbps")),
      figure("expired", count(number("expired_keys"))),
      figure("evicted", count(number("evicted_keys")))),
      line(session.rates, "Commands a second"))),
    section("Server", facts(info, ["redis_version", "lodestore_version", "role", "tcp_port", "uptime_in_seconds", "process_id", "config_file"])),
    section("Persistence", facts(info, ["loading", "aof_enabled", "aof_last_write_status", "rdb_last_bgsave_status", "rdb_changes_since_last_save"])),
    section("Databases", table(["Database", "#Keys", "#With expiry"], keys.map(([name, db]) => [name, count(db.keys), count(db.expires)]))),
  ];
}

async function commands() {
  const [text] = await run([["INFO", "commandstats", "latencystats"]]);
  const info = fields(text?.text ?? text);
  const rows = [...info].filter(([name]) => name.startsWith("cmdstat_")).map(([name, value]) => {
    const own = parts(value);
    const times = parts(info.get(name.replace("cmdstat_", "latency_percentiles_usec_")) ?? "");
    return [name.slice(8), Number(own.calls), own.usec_per_call, times.p50, times.p99, times["p99.9"], own.failed_calls, own.rejected_calls];
  });
  rows.sort((a, b) => b[1] - a[1]);
  return [wide(section("Commands and their times in µs",
    table(["Command", "#Calls", "#Mean", "#p50", "#p99", "#p99.9", "#Failed", "#Rejected"],
      rows.map((row) => row.map((value, at) => (at === 1 ? count(value) : value ?? "–"))))))];
}

function bars(rows) {
  const most = Math.max(1, ...rows.map((row) => row[1]));
  return el("table", {}, el("tbody", {}, rows.map(([name, value, shown]) => {
    const bar = el("span", { class: "bar" });
    bar.style.width = `${100 * value / most}%`;
    return el("tr", {}, el("td", {}, name), el("td", { class: "number" }, shown), el("td", { class: "bars" }, bar));
  })));
}

async function memory() {
  const [text, types] = await run([["INFO", "memory"], ["INFO", "keysizes"]]);
  const info = fields(text?.text ?? text);
  const of = (name, label) => [label, Number(info.get(name) ?? 0), bytes(info.get(name) ?? 0)];
  const kinds = [
    of("used_memory", "in use"), of("used_memory_dataset", "data"), of("used_memory_overhead", "overhead"),
    of("mem_clients_normal", "clients"), of("mem_aof_buffer", "buffer of the log"), of("used_memory_scripts", "scripts"),
    of("used_memory_peak", "peak"), of("used_memory_rss", "resident"),
  ];
  const made = [section("Memory by kind", bars(kinds))];
  for (const [name, value] of fields(types?.text ?? types)) {
    const [, db, kind] = /^(db\d+)_distrib_(.*)$/.exec(name) ?? [];
    if (!kind) continue;
    const rows = Object.entries(parts(value)).map(([size, keys]) => [size, Number(keys), count(keys)]);
    made.push(section(`${db}: ${kind.replace("_", " by ")}`, bars(rows)));
  }
  return made;
}

async function clients() {
  const [text] = await run([["CLIENT", "LIST"]]);
  if (isError(text)) return [section("Clients", el("p", { class: "error" }, show(text)))];
  const lines = String(text?.text ?? text).split("\n").filter(Boolean);
  const rows = lines.map((one) => Object.fromEntries(one.split(" ").map((part) => {
    const at = part.indexOf("=");
    return [part.slice(0, at), part.slice(at + 1)];
  })));
  return [wide(section(`Clients (${rows.length}${text?.text ? " of more" : ""})`,
    table(["Id", "Address", "Name", "User", "#Age s", "#Idle s", "Db", "Command", "#Memory"],
      rows.map((one) => [one.id, one.addr, visible(one.name ?? ""), one.user, one.age, one.idle, one.db, one.cmd, bytes(one["tot-mem"] ?? 0)]))))];
}

async function durability() {
  const [text] = await run([["INFO", "persistence", "replication"]]);
  const info = [...fields(text?.text ?? text)];
  const at = info.findIndex(([name]) => name === "role");
  const list = (rows) => table(["Field", "#Value"], rows);
  return [section("Persistence", list(info.slice(0, at))), section("Replication", list(info.slice(at)))];
}

async function slow() {
  const [entries] = await run([["SLOWLOG", "GET", "50"]]);
  if (isError(entries)) return [section("Slow commands", el("p", { class: "error" }, show(entries)))];
  return [wide(section("Slow commands",
    entries.length ? table(["When", "#µs", "Command", "Client"], entries.map((entry) => [
      new Date(entry[1] * 1000).toLocaleString(), count(entry[2]),
      el("code", {}, entry[3].map(show).join(" ")), `${show(entry[4])} ${show(entry[5])}`,
    ])) : el("p", { class: "soft" }, "None.")))];
}

async function heavy() {
  const [hot, big] = await run([["HOTKEYS", "GET"], ["MEMORY", "BIGKEYS", "COUNT", "20"]]);
  const act = (words) => () => attempt(async () => {
    const [reply] = await run([words]);
    if (isError(reply)) say(show(reply), true);
    await refresh();
  });
  const made = [];
  const buttons = el("div", { class: "row" },
    el("button", { onclick: act(["HOTKEYS", "START", "METRICS", "2", "CPU", "NET", "COUNT", "20", "DURATION", "60"]) }, "Track for a minute"),
    el("button", { onclick: act(["HOTKEYS", "STOP"]) }, "Stop"),
    el("button", { onclick: act(["HOTKEYS", "RESET"]) }, "Reset"));
  const key = (name, db) => el("button", { class: "link mono", onclick: () => openKey(name, db) }, show(name));
  if (isError(hot)) made.push(section("Hot keys", el("p", { class: "error" }, show(hot))));
  else {
    const report = new Map(pairs(hot?.[0]).map(([name, value]) => [name, value]));
    const list = (name, unit) => table(["Key", "#" + unit], pairs(report.get(name) ?? []).map(([k, v]) => [key(k), count(v)]));
    made.push(section("Hot keys by processor time",
      el("p", { class: "soft" }, hot === null ? "Not tracked yet." : report.get("tracking-active") ? "Tracking …" : "The tracking has ended."),
      buttons, list("by-cpu-time-us", "µs")));
    made.push(section("Hot keys by network", list("by-net-bytes", "bytes")));
  }
  if (isError(big)) made.push(section("Big keys", el("p", { class: "error" }, show(big))));
  for (const [kind, lists] of pairs(big)) {
    for (const [name, rows] of pairs(lists).filter(([, rows]) => Array.isArray(rows))) {
      made.push(section(`Big keys: ${kind} ${name.replace("-", " ")}`,
        table(["Key", "Db", "#Memory", kind === "string" ? "#Bytes" : "#Elements"],
          rows.map(([k, db, memory, size]) => [key(k, db), db, bytes(memory), count(size)]))));
    }
  }
  return made;
}

// ---- Keys ------------------------------------------------------------------------------------------

const browser = { pattern: "*", kind: "", cursor: "0", keys: [], key: null, done: false, search: null };

function openKey(name, db) {
  if (db !== undefined) { session.db = db; $("db").value = String(db); }
  select("keys");
  attempt(() => showKey(name));
}

/** Looks for keys, from the beginning or for more of them. A new search ends the one before. */
async function findKeys(more) {
  if (more && browser.search) return;
  const search = Symbol("search");
  if (!more) Object.assign(browser, { cursor: "0", keys: [], done: false });
  browser.search = search;
  try {
    await (browser.pattern && !/[*?[\\]/.test(browser.pattern) ? findKey(search) : scanKeys(search));
    if (browser.search === search) drawKeys();
  } finally {
    if (browser.search === search) browser.search = null;
  }
}

async function scanKeys(search) {
  const wanted = browser.keys.length + PAGE;
  // Few matches among many keys: some seconds, then the button again.
  const end = performance.now() + FIND_MS;
  while (performance.now() < end && browser.keys.length < wanted && !browser.done) {
    const words = ["SCAN", browser.cursor, "MATCH", browser.pattern || "*", "COUNT", "1000"];
    if (browser.kind) words.push("TYPE", browser.kind);
    const [reply] = await run([words]);
    if (browser.search !== search) return;
    if (isError(reply)) throw new Error(show(reply));
    browser.cursor = reply[0];
    browser.keys.push(...reply[1]);
    browser.done = reply[0] === "0";
  }
}

/** A pattern without wildcards is the name of a key, which needs no scan. */
async function findKey(search) {
  const name = browser.pattern;
  const [kind] = await run([["TYPE", name]]);
  if (browser.search !== search) return;
  if (isError(kind)) throw new Error(show(kind));
  const fits = show(kind) !== "none" && (!browser.kind || browser.kind === show(kind));
  Object.assign(browser, { keys: fits ? [name] : [], done: true });
}

function drawKeys() {
  const list = $("key-list");
  if (!list) return;
  list.replaceChildren(...browser.keys.slice(0, 5000).map((name) => el("li", {},
    el("button", { class: "link mono", onclick: () => attempt(() => showKey(name)) }, show(name) || '""'))));
  $("key-more").hidden = browser.done;
  $("key-count").textContent = `${count(browser.keys.length)} keys${browser.done ? "" : " so far"}`;
}

async function showKey(name) {
  browser.key = name;
  const key = argument(name);
  const [kind, ttl, usage, encoding] = await run([["TYPE", key], ["PTTL", key], ["MEMORY", "USAGE", key], ["OBJECT", "ENCODING", key]]);
  const pane = $("key-value");
  if (!pane) return;
  if (isError(kind)) throw new Error(show(kind));
  const type = show(kind);
  const values = el("div", { id: "values" });
  pane.replaceChildren(el("h2", { class: "mono" }, show(name) || '""'),
    type === "none" ? el("p", { class: "soft" }, "There is no such key (any more).")
      : el("p", { class: "soft", id: "key-facts" }, `${type}, ${show(encoding)}, ${isError(usage) ? "" : bytes(usage ?? 0)}, ${lifetime(ttl)}`),
    values);
  if (type !== "none") await morePages(type, key, values, null);
}

/** The next page of a value: the command, and from its reply rows and where to go on. */
const PAGES = {
  string: {
    heads: ["#From", "Text"], first: 0,
    words: (key, at) => ["GETRANGE", key, String(at), String(at + STRING_PAGE - 1)],
    rows: (reply, at) => (reply === "" ? [] : [[count(at), el("pre", {}, show(reply))]]),
    next: (reply, at) => (length(reply) === STRING_PAGE ? at + STRING_PAGE : null),
  },
  list: {
    heads: ["#Index", "Element"], first: 0,
    words: (key, at) => ["LRANGE", key, String(at), String(at + PAGE - 1)],
    rows: (reply, at) => reply.map((one, i) => [at + i, show(one)]),
    next: (reply, at) => (reply.length === PAGE ? at + PAGE : null),
  },
  zset: {
    heads: ["#Score", "Member"], first: 0,
    words: (key, at) => ["ZRANGE", key, String(at), String(at + PAGE - 1), "WITHSCORES"],
    rows: (reply) => reply.map(([member, score]) => [show(score), show(member)]),
    next: (reply, at) => (reply.length === PAGE ? at + PAGE : null),
  },
  set: {
    heads: ["Member"], first: "0",
    words: (key, at) => ["SSCAN", key, at, "COUNT", String(PAGE)],
    rows: (reply) => reply[1].map((one) => [show(one)]),
    next: (reply) => (reply[0] === "0" ? null : reply[0]),
  },
  hash: {
    heads: ["Field", "Value"], first: "0",
    words: (key, at) => ["HSCAN", key, at, "COUNT", String(PAGE)],
    rows: (reply) => pairs(reply[1]).map(([field, value]) => [show(field), show(value)]),
    next: (reply) => (reply[0] === "0" ? null : reply[0]),
  },
  stream: {
    heads: ["Id", "Fields"], first: "-",
    words: (key, at) => ["XRANGE", key, at, "+", "COUNT", String(PAGE)],
    rows: (reply) => reply.map(([id, own]) => [id, pairs(own).map(([f, v]) => `${show(f)}: ${show(v)}`).join(", ")]),
    next: (reply) => (reply.length === PAGE ? "(" + reply.at(-1)[0] : null),
  },
};

function length(value) {
  if (value?.hex !== undefined) return value.hex.length / 2;
  return new TextEncoder().encode(value?.text ?? value).length;
}

async function morePages(type, key, values, at) {
  const way = PAGES[type];
  if (!way) return;
  const from = at ?? way.first;
  const [reply] = await run([way.words(key, from)]);
  if (isError(reply)) throw new Error(show(reply));
  const next = way.next(reply, from);
  const made = table(way.heads, way.rows(reply, from));
  if (at !== null) made.querySelector("thead").remove();
  values.querySelector("button.more")?.remove();
  values.append(made);
  if (next !== null) {
    values.append(el("button", { class: "more", onclick: () => attempt(() => morePages(type, key, values, next)) }, "More"));
  }
}

async function keys() {
  const search = el("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    browser.pattern = $("pattern").value;
    browser.kind = $("kind").value;
    attempt(() => findKeys(false));
  } },
    el("label", { class: "grow" }, "Pattern", el("input", { id: "pattern", class: "mono", value: browser.pattern, spellcheck: "false" })),
    el("label", {}, "Type", el("select", { id: "kind" }, ["", "string", "list", "set", "zset", "hash", "stream"].map((kind) =>
      el("option", { value: kind, selected: kind === browser.kind }, kind || "any")))),
    el("button", {}, "Find"));
  setTimeout(() => attempt(() => (browser.keys.length ? drawKeys() : findKeys(false))));
  return [
    section("Keys", search, el("p", { id: "key-count", class: "soft", role: "status" }),
      el("ul", { id: "key-list", class: "scroll" }),
      el("button", { id: "key-more", hidden: true, onclick: () => attempt(() => findKeys(true)) }, "More")),
    el("section", { id: "key-value" }, el("p", { class: "soft" }, "Choose a key.")),
  ];
}

// ---- The command line --------------------------------------------------------------------------------

const shell = { history: [], at: 0, output: [] };

/** The words of a line, with quotes as in the CLI; null when one is open. */
function words(text) {
  const found = [];
  const pattern = /\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\')*)'|([^\s"']+))/y;
  while (pattern.lastIndex < text.trimEnd().length) {
    const match = pattern.exec(text);
    if (!match) return null;
    if (match[1] === undefined) found.push(match[2]?.replaceAll("\\'", "'") ?? match[3]);
    else found.push(unescaped(match[1]));
  }
  return found;
}

function unescaped(text) {
  if (!/\\x[0-9a-f]{2}/i.test(text)) {
    return text.replace(/\\(.)/g, (_, letter) => ({ n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b" }[letter] ?? letter));
  }
  const raw = text.replace(/\\(x[0-9a-f]{2}|.)/gi, (_, part) => (part.length === 3
    ? String.fromCharCode(0xe000 + parseInt(part.slice(1), 16)) : { n: "\n", r: "\r", t: "\t" }[part] ?? part));
  let hex = "";
  for (const letter of raw) {
    const code = letter.codePointAt(0);
    const own = code >= 0xe000 && code < 0xe100 ? [code - 0xe000] : new TextEncoder().encode(letter);
    for (const byte of own) hex += byte.toString(16).padStart(2, "0");
  }
  return { hex };
}

function syntax(args) {
  return args.map((arg) => {
    const own = new Map(pairs(arg));
    const inner = own.get("arguments");
    const kind = show(own.get("type"));
    const flags = (own.get("flags")?.set ?? own.get("flags") ?? []).map(show);
    const token = own.get("token") == null ? "" : show(own.get("token"));
    let text = token;
    if (inner) text = [token, inner.length ? syntax(inner).join(kind === "oneof" ? " | " : " ") : ""].filter(Boolean).join(" ");
    else if (kind !== "pure-token") text = [token, show(own.get("display_text") ?? own.get("name"))].filter(Boolean).join(" ");
    if (kind === "oneof") text = `<${text}>`;
    if (flags.includes("multiple")) text += ` [${text} ...]`;
    return flags.includes("optional") ? `[${text}]` : text;
  });
}

async function hint() {
  const typed = (words($("line").value) ?? []).filter((word) => typeof word === "string");
  const box = $("hint");
  if (!typed.length) { box.textContent = ""; return; }
  for (const name of [typed.slice(0, 2).join("|"), typed[0]].map((name) => name.toLowerCase())) {
    if (!session.docs.has(name)) session.docs.set(name, (await run([["COMMAND", "DOCS", name]]))[0]);
    const doc = pairs(session.docs.get(name))[0];
    if (!doc) continue;
    const own = new Map(pairs(doc[1]));
    if ($("line")) box.textContent = `${name.replace("|", " ").toUpperCase()} ${syntax(own.get("arguments") ?? []).join(" ")} – ${show(own.get("summary"))}`;
    return;
  }
  box.textContent = "There is no such command.";
}

function print(text, kind = "") {
  shell.output.push([text, kind]);
  if (shell.output.length > 200) shell.output.shift();
  const out = $("output");
  if (!out) return;
  out.replaceChildren(...shell.output.map(([line, own]) => el("pre", { class: own }, line)));
  out.scrollTop = out.scrollHeight;
}

async function enter(event) {
  event.preventDefault();
  const typed = $("line").value;
  const asked = words(typed);
  if (!asked?.length) { if (asked === null) print("A quote is open.", "error"); return; }
  shell.history.push(typed);
  shell.at = shell.history.length;
  $("line").value = "";
  print("> " + typed, "soft");
  await attempt(async () => {
    try {
      const [reply] = await run([asked]);
      print(tree(reply), isError(reply) ? "error" : "");
    } catch (error) {
      if (error.status && error.status !== 401) print(error.message, "error");
      throw error;
    }
  });
}

function recall(event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (!step || !shell.history.length) return;
  event.preventDefault();
  shell.at = Math.max(0, Math.min(shell.history.length, shell.at + step));
  $("line").value = shell.history[shell.at] ?? "";
}

async function commandLine() {
  if (!session.names) {
    const [names] = await run([["COMMAND", "LIST"]]);
    session.names = (Array.isArray(names) ? names : []).map(show).sort();
  }
  let waiting = 0;
  setTimeout(() => { print("Type a command; ↑ and ↓ bring earlier ones back.", "soft"); $("line")?.focus(); });
  return [wide(section("Command line",
    el("div", { id: "output", class: "scroll mono", role: "log", "aria-live": "polite", tabindex: "0" }),
    el("form", { class: "row", onsubmit: enter },
      el("label", { class: "grow" }, "Command", el("input", {
        id: "line", class: "mono", list: "names", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "aria-describedby": "hint", onkeydown: recall,
        oninput: () => { clearTimeout(waiting); waiting = setTimeout(() => attempt(hint), 150); },
      })), el("button", {}, "Run")),
    el("p", { id: "hint", class: "soft mono", "aria-live": "polite" }),
    el("datalist", { id: "names" }, session.names.map((name) => el("option", { value: name.toUpperCase() })))))];
}

// ---- Tabs ------------------------------------------------------------------------------------------

/** Name, title, view, and milliseconds until it is drawn anew (0: it stays). */
const TABS = [
  ["overview", "Overview", overview, 1000], ["commands", "Commands", commands, 2000],
  ["memory", "Memory", memory, 2000], ["clients", "Clients", clients, 2000],
  ["durability", "Persistence & replication", durability, 2000], ["slow", "Slow commands", slow, 2000],
  ["heavy", "Hot & big keys", heavy, 2000], ["keys", "Keys", keys, 0], ["line", "Command line", commandLine, 0],
];
let current = "overview";
let timer = 0;
let drawing = 0;

function select(name) {
  current = name;
  location.hash = name;
  for (const tab of $("tabs").children) {
    const chosen = tab.dataset.name === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  refresh();
}

/** Draws the current view, and again later. */
async function refresh() {
  clearTimeout(timer);
  const [name, title, view, again] = TABS.find(([known]) => known === current);
  const own = ++drawing;
  const fine = document.hidden || await attempt(async () => {
    const made = await view();
    if (own !== drawing) return;
    // The focus and the place in a table stay.
    const focus = document.activeElement?.id;
    const tops = [...document.querySelectorAll("#view .scroll")].map((one) => one.scrollTop);
    $("view").replaceChildren(...made);
    $("view").setAttribute("aria-label", title);
    document.querySelectorAll("#view .scroll").forEach((one, at) => { one.scrollTop = tops[at] ?? 0; });
    if (focus) $(focus)?.focus();
    say(`Live, ${new Date().toLocaleTimeString()}`);
  });
  if (own === drawing && name === current && (again || !fine)) timer = setTimeout(refresh, fine ? again : 2000);
}

function begin() {
  attempt(async () => {
    const [limit] = await run([["CONFIG", "GET", "databases"]]);
    const number = Number(pairs(limit)[0]?.[1] ?? 16);
    $("db").replaceChildren(...Array.from({ length: Math.min(number, 64) }, (_, db) => el("option", { value: db, selected: db === session.db }, db)));
  });
  refresh();
}

for (const [name, title] of TABS) {
  $("tabs").append(el("button", { role: "tab", type: "button", "data-name": name, "aria-controls": "view", onclick: () => select(name) }, title));
}
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const at = TABS.findIndex(([name]) => name === current) + step;
  select(TABS[(at + TABS.length) % TABS.length][0]);
  $("tabs").querySelector('[aria-selected="true"]').focus();
});
$("db").addEventListener("change", () => {
  session.db = Number($("db").value);
  browser.keys = [];
  refresh();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
const asked = location.hash.slice(1);
select(TABS.some(([name]) => name === asked) ? asked : "overview");
begin();
