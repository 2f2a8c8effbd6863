use super::*;

/// A few commands of the table.
struct Table;

impl CommandKeys for Table {
    fn positions(
        &self,
        name: &[u8],
        arguments: usize,
        literals: &[Option<Vec<u8>>],
    ) -> KeyPositions {
        match name.to_ascii_lowercase().as_slice() {
            b"get" | b"set" | b"incr" | b"hset" | b"sadd" => KeyPositions::At(vec![1]),
            b"del" => KeyPositions::At((1..=arguments).collect()),
            b"lmove" => KeyPositions::At(vec![1, 2]),
            b"ping" | b"time" => KeyPositions::At(Vec::new()),
            b"eval" => KeyPositions::Unknown,
            b"zunionstore" => match literals.get(1) {
                Some(Some(count)) if count == b"2" => KeyPositions::At(vec![1, 3, 4]),
                _ => KeyPositions::Unknown,
            },
            b"scan" | b"flushall" => KeyPositions::All,
            _ => KeyPositions::Unknown,
        }
    }
}

fn of(code: &str) -> Profile {
    profile(code.as_bytes(), &Table)
}

#[test]
fn proved() {
    for code in [
        "return 1",
        "return redis.call('get', KEYS[1])",
        "return redis.call('GET', KEYS[1 + #ARGV])",
        "return server.pcall('set', KEYS[1], ARGV[1], 'EX', tonumber(ARGV[2]))",
        "local call = redis.call local k, n = KEYS[1], 5 call('set', k, n) return call('get', k)",
        "local rcall = redis.call; if ARGV[1] == 'x' then rcall('incr', KEYS[1]) end",
        "for i, key in ipairs(KEYS) do redis.call('incr', key) end",
        "for i = 1, #KEYS do redis.call('incr', KEYS[i]) end",
        "return redis.call('del', unpack(KEYS))",
        "redis.call('del', KEYS[1], unpack(KEYS))",
        "redis.call('lmove', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')",
        "redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[3])",
        "-- redis.call('get', 'x')\nlocal s = [[redis.call('get', 'x')]] return redis.call('ping')",
        "--[==[ redis ]==] return redis.call('set', KEYS[1], cjson.encode({redis.call('get', KEYS[2])}))",
        "local t = {x = 1, key = KEYS[1]} return t.redis",
        "return redis.error_reply('x')",
        "redis.log(redis.LOG_NOTICE, 'x' .. KEYS[1])",
    ] {
        assert_eq!(of(code), Profile::Proved, "{code}");
    }
}

#[test]
fn all() {
    for code in ["return redis.call('scan', 0)", "redis.call('flushall')"] {
        assert_eq!(of(code), Profile::All, "{code}");
    }
}

#[test]
fn not_proved() {
    for code in [
        "return redis.call('get', 'x')",
        "return redis.call('get', ARGV[1])",
        "return redis.call('get', KEYS[1] .. 'x')",
        "return redis.call('get', KEYS[1], ...)",
        "return redis.call(ARGV[1], KEYS[1])",
        "return redis.call('g\\101t', KEYS[1])",
        "return redis['call']('get', 'x')",
        "local r = redis return r.call('get', 'x')",
        "local f = redis.call return f(ARGV[1])",
        "local f = redis.call f = 1",
        "local f = redis.call local g = f g('get', 'x')",
        "local t = {redis.call} t[1]('get', 'x')",
        "pcall(redis.call, 'get', 'x')",
        "KEYS[1] = 'x' return redis.call('get', KEYS[1])",
        "KEYS[1], b = 'x', 2 return redis.call('get', KEYS[1])",
        "local b b, KEYS[1] = 'x', 2 return redis.call('get', KEYS[1])",
        "local k = KEYS[1] k = 'x' redis.call('get', k)",
        "local k = KEYS[1] local a a, k = 1, 'x' redis.call('get', k)",
        "local k = KEYS[1] local a k, a = 'x', 1 redis.call('get', k)",
        "local k = KEYS[1] do local k = 'x' redis.call('get', k) end",
        "local k = KEYS[1] local function f(k) redis.call('get', k) end f('x')",
        "local k = KEYS[1] .. 'x' redis.call('get', k)",
        "local k = KEYS[1] or 'x' redis.call('get', k)",
        "local k = KEYS[1]:lower() redis.call('get', k)",
        "local KEYS = {'x'} redis.call('get', KEYS[1])",
        "local function f(KEYS) redis.call('get', KEYS[1]) end",
        "for KEYS = 1, 2 do end redis.call('get', KEYS[1])",
        "table.insert(KEYS, 'x') redis.call('get', KEYS[1])",
        "local t = KEYS t[1] = 'x' redis.call('get', KEYS[1])",
        "rawset(KEYS, 1, 'x') redis.call('get', KEYS[1])",
        "loadstring(ARGV[1])()",
        "local g = _G g.redis.call('get', 'x')",
        "redis.call('get', tostring('x'))",
        "redis.call('set', KEYS[1], f())",
        "redis.call('del', unpack(ARGV))",
        "redis.call('sadd', unpack(ARGV))",
        "redis.call('eval', 'x', 0)",
        "redis.call 'ping'",
        "for _, k in ipairs(ARGV) do redis.call('get', k) end",
        "for k, _ in ipairs(KEYS) do redis.call('get', k) end",
        "for _, k in pairs(KEYS) do redis.call('get', k) end",
        "local unpack = f redis.call('del', unpack(KEYS))",
        "local tostring = f redis.call('set', KEYS[1], tostring(1))",
        "x = ''..redis.call('get', 'x')",
        "x = 'a'.._G.x",
        "local s = 'x",
    ] {
        assert_eq!(of(code), Profile::Undeclared, "{code}");
    }
}

#[test]
fn no_nesting_exhausts_the_stack() {
    for code in [
        "(",
        "{",
        "1+",
        "not ",
        "f(",
        "a.",
        "function() ",
        "local x = x[",
        "KEYS[",
    ] {
        of(&code.repeat(20_000));
    }
}
