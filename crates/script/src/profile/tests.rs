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

fn of_library(code: &str) -> Profile {
    library_profile(code.as_bytes(), &Table)
}

#[test]
fn libraries_are_proved_by_the_keys_of_their_functions() {
    for code in [
        "redis.register_function('f', function(keys, args) return redis.call('get', keys[1]) end)",
        "server.register_function('f', function(KEYS) return server.call('get', KEYS[1]) end)",
        "redis.register_function{function_name='f', callback=function(k, a)
             if a[1] then return redis.call('set', k[1], a[1]) end
             for _, one in ipairs(k) do redis.call('incr', one) end
             repeat local x = redis.call('get', k[1]) until x
         end, flags={'no-writes'}}",
        "redis.register_function({function_name='f', callback=function(keys) return redis.call('del', unpack(keys)) end})",
        "local function add(n) return n + 1 end
         local function f(keys, args) local key = keys[1] local n = add(args[1]) return redis.call('set', key, n) end
         redis.register_function('f', f)
         redis.register_function{function_name='g', callback=f}",
    ] {
        assert_eq!(of_library(code), Profile::Proved, "{code}");
    }
    assert_eq!(
        of_library("redis.register_function('f', function(keys) return redis.call('scan', 0) end)"),
        Profile::All
    );
}

#[test]
fn libraries_that_may_use_other_keys_are_not_proved() {
    for code in [
        "redis.register_function('f', function(keys, args) return redis.call('get', args[1]) end)",
        "redis.register_function('f', function(keys) return redis.call('get', 'x') end)",
        // Called by others, or used as a value.
        "local function f(keys) return redis.call('get', keys[1]) end
         redis.register_function('f', f) redis.register_function('g', function() return f({'x'}) end)",
        "local function f(keys) return redis.call('get', keys[1]) end
         local t = {f} redis.register_function('f', f)",
        "local function f(keys) return redis.call('get', keys[1]) end",
        "local t = {callback = function(keys) return redis.call('get', keys[1]) end}",
        "local function x(name, f) f({'x'}) end
         x('f', function(keys) return redis.call('get', keys[1]) end)",
        "local r = {register_function = function(n, f) f({'x'}) end}
         r.register_function('f', function(keys) return redis.call('get', keys[1]) end)",
        "redis.register_function('f', (function(keys) return redis.call('get', keys[1]) end))",
        // Keys of an earlier call.
        "local old redis.register_function('f', function(keys)
             old = old or function() return redis.call('get', keys[1]) end return old() end)",
        "local old redis.register_function('f', function(keys) old = keys redis.call('get', old[1]) end)",
        "local old redis.register_function('f', function(keys) redis.call('get', old) old = keys[1] end)",
        "redis.register_function('f', function(keys) keys[1] = 'x' redis.call('get', keys[1]) end)",
        "redis.register_function('f', function(keys) local keys = {'x'} redis.call('get', keys[1]) end)",
        "redis.register_function('f', function(keys, KEYS) return redis.call('get', KEYS[1]) end)",
        "redis.register_function('f', function(a, keys) return redis.call('get', keys[1]) end)",
        "redis.register_function('f', function(keys) return redis.call('get', keys[1])",
    ] {
        assert_eq!(of_library(code), Profile::Undeclared, "{code}");
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
