//! One test per guard: each fails without it.

use super::*;

const ENDLESS: [&str; 14] = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local function f() pcall(f) end while true do f() end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "while true do coroutine.wrap(function() while true do end end)() end",
    "local function f(n) for i = 1, 100 do coroutine.resume(coroutine.create(function() if n > 0 then f(n - 1) end end)) end end f(100)",
    "while true do pcall(string.gsub, 'x', '.', function() while true do end end) end",
    "while true do pcall(table.sort, {1, 2, 3}, function() while true do end end) end",
    "return string.find(string.rep('a', 50), string.rep('a?', 50) .. string.rep('a', 50))",
    "return string.rep('', 2147483647) .. string.rep('a', 1e6):find(string.rep('.-', 20) .. 'b')",
    "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) while true do pcall(function() return t[1] end) end",
    "repeat local ok = pcall(load, function() while true do end end) until false",
    "table.insert({}, -2147483648, 1) while true do end",
    "while true do local f = loadstring('return 1') pcall(f) end",
];

#[test]
fn a_stop_is_not_caught() {
    for code in ENDLESS {
        let mut host = Canned {
            patience: Some(3),
            ..Canned::default()
        };
        let (_, failure) = run_raw(&mut vm(), code.as_bytes(), &mut host, Protocol::Resp2);
        let failure = failure.unwrap_or_else(|| panic!("not stopped: {code}"));
        let message = String::from_utf8_lossy(&failure.message);
        assert!(
            message.starts_with("ERR Script killed by user with SCRIPT KILL."),
            "{message}"
        );
        assert!(failure.stopped);
    }
}

#[test]
fn a_stopped_run_calls_nothing() {
    let code = "pcall(function() while true do end end) redis.call('set', 'x', 'y')";
    let mut host = Canned {
        patience: Some(0),
        ..Canned::default()
    };
    let (_, failure) = run_raw(&mut vm(), code.as_bytes(), &mut host, Protocol::Resp2);
    assert!(failure.is_some());
    assert!(host.calls.is_empty());
}

#[test]
fn memory_ends_the_run_and_comes_back() {
    let mut vm = vm();
    for code in [
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "return string.rep('x', 1e9)",
        "local s = string.rep('x', 1e6) return string.gsub(s, '.', s)",
        "local s = string.rep('x', 1e7) local t = {} for i = 1, 100 do t[i] = s end return table.concat(t)",
        "local s = string.rep('x', 1e7) local t = {} for i = 1, 100 do t[i] = s end return cjson.encode(t)",
        "local s = string.rep('x', 1e7) local t = {} for i = 1, 100 do t[i] = s end return cmsgpack.pack(t)",
    ] {
        let mut host = Canned::default();
        let (_, failure) = run_raw(&mut vm, code.as_bytes(), &mut host, Protocol::Resp2);
        let failure = failure.unwrap_or_else(|| panic!("not stopped: {code}"));
        let message = String::from_utf8_lossy(&failure.message);
        assert!(message.contains("not enough memory"), "{code}: {message}");
        assert!(failure.stopped);
        assert!(vm.memory() < 4 << 20, "{code} leaves {} bytes", vm.memory());
    }
    assert_eq!(
        run_with(&mut vm, "return 1", &mut Canned::default(), Protocol::Resp2),
        ":1\r\n"
    );
}

#[test]
fn bytecode_is_text() {
    for code in [
        "return select(2, loadstring(string.char(27) .. 'Lua'))",
        "return select(2, load(function() local s = x end))",
    ] {
        let _ = code;
    }
    assert_eq!(
        text("return select(2, loadstring(string.char(27) .. 'Lua'))"),
        "[string \"\u{1b}Lua\"]:1: unexpected symbol near 'char(27)'"
    );
    let reply = text(
        "local pieces, i = {string.char(27), 'Lua'}, 0 \
         return select(2, load(function() i = i + 1 return pieces[i] end))",
    );
    assert_eq!(
        reply,
        "[string \"(load)\"]:1: unexpected symbol near 'char(27)'"
            .replace("[string \"(load)\"]", "(load)")
    );
    let (_, failure) = run_raw(
        &mut vm(),
        b"\x1bLua",
        &mut Canned::default(),
        Protocol::Resp2,
    );
    assert!(failure.is_some());
    // What is dumped is not loaded again.
    assert_eq!(
        run("return loadstring(string.dump(function() return 1 end)) == nil"),
        ":1\r\n"
    );
}

#[test]
fn what_is_not_there() {
    for name in [
        "newproxy", "setfenv", "getfenv", "print", "dofile", "loadfile", "debug", "io", "require",
        "package", "module",
    ] {
        let reply = run(&format!("return {name}"));
        assert!(
            reply.contains("nonexistent global variable"),
            "{name}: {reply}"
        );
    }
    assert_eq!(
        text("local t = {} for k in pairs(os) do t[#t + 1] = k end return table.concat(t)"),
        "clock"
    );
}

#[test]
fn tables_of_the_server_are_read_only() {
    for code in [
        "string.find = 1",
        "redis.call = 1",
        "_G.x = 1",
        "_G['string'] = 1",
        "getmetatable('').__index = 1",
        "rawset(_G, 'x', 1)",
        "rawset(string, 'x', 1)",
        "setmetatable(_G, {})",
        "setmetatable(math, nil)",
        "table.insert(string, 1)",
        "table.insert(table, 1, 1)",
        "getmetatable(_G).__index = 1",
        "rawset(getmetatable(''), '__index', 1)",
        "cjson.null = 1",
        "coroutine.wrap = 1",
        "os.clock = 1",
        "local t = next(_G) _G[t] = 1",
    ] {
        let reply = run(code);
        assert!(
            reply.contains("Attempt to modify a readonly table"),
            "{code}: {reply}"
        );
    }
    // No way leads to what stands behind.
    assert_eq!(
        run("local f, t = pairs(string) return rawequal(t, string) and 1 or 0"),
        ":1\r\n"
    );
    assert_eq!(run("return getmetatable(string)"), "$-1\r\n");
}

#[test]
fn runs_do_not_see_each_other() {
    let mut vm = vm();
    let mut ask = |code: &str| run_with(&mut vm, code, &mut Canned::default(), Protocol::Resp2);
    ask("KEYS.x = 1 KEYS[9] = 2 setmetatable(ARGV, {__index = function() return 'leak' end})");
    assert_eq!(
        ask("return {KEYS.x or 0, KEYS[9] or 0, ARGV[7] or 0}"),
        "*3\r\n:0\r\n:0\r\n:0\r\n"
    );
    ask("cjson.encode_max_depth(1) cjson.encode_sparse_array(true)");
    assert_eq!(ask("return cjson.encode({{1}})"), "$5\r\n[[1]]\r\n");
    let first = ask("return tostring(math.random())");
    assert_ne!(ask("return tostring(math.random())"), first);
    let seeded = ask("math.randomseed(7) return tostring(math.random())");
    assert_eq!(
        ask("math.randomseed(7) return tostring(math.random())"),
        seeded
    );
    ask("math.randomseed(7)");
    assert_ne!(ask("return tostring(math.random())"), seeded);
    ask("collectgarbage('stop')");
    assert_eq!(
        ask(
            "local n = 0 for i = 1, 2e6 do local t = {} end return collectgarbage('count') < 20000"
        ),
        ":1\r\n"
    );
    ask("redis.setresp(3)");
    assert_eq!(ask("return true"), ":1\r\n");
}

#[test]
fn deep_recursion_is_an_error() {
    for code in [
        "local function f() return 1 + f() end return f()",
        "local function f() return pcall(f) end return f()",
        "local function f() return (string.gsub('x', 'x', f)) end return f()",
        "local function f() table.sort({1, 2}, f) end f()",
        "local function f() return coroutine.wrap(f)() end return f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
        "return loadstring('return ' .. string.rep('(', 10000) .. string.rep(')', 10000))",
        "return loadstring(string.rep('do ', 10000))",
        "return cjson.decode(string.rep('[', 100000))",
        "return cmsgpack.unpack(string.rep(string.char(0x91), 100000))",
        "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
        "local t = {} for i = 1, 100000 do t = {t} end return t",
        "local t = {} for i = 1, 100000 do t = {map = {a = t}} end return t",
        "return string.find('x', string.rep('a?', 100000))",
        "return string.match(string.rep('a', 100000), string.rep('a?', 100000))",
        "return string.match('x', string.rep('(', 100000))",
    ] {
        let mut host = Canned {
            patience: Some(10_000),
            ..Canned::default()
        };
        run_with(&mut vm(), code, &mut host, Protocol::Resp2);
    }
}

#[test]
fn many_values_at_once() {
    for code in [
        "local t = {} for i = 1, 7880 do t[i] = 'v' .. i end return redis.call('x', unpack(t))",
        "local t = {} for i = 1, 7880 do t[i] = 'v' .. i end return string.char(unpack(t)) == 1",
        "return unpack({}, 1, 1e7)",
        "return unpack({}, -2147483648, 2147483647)",
        "return unpack({}, 0, 2147483647)",
        "return cmsgpack.unpack(string.rep(string.char(0xa1, 65), 100000))",
        "return struct.unpack(string.rep('s', 100000), string.rep('a\\0', 100000))",
        "local t = {} for i = 1, 100000 do t['k' .. i] = 'v' end return #cjson.encode(t)",
        "local t = {} for i = 1, 100000 do t[i] = 'v' .. i end table.sort(t) return t[1]",
        "local t = {} for i = 1, 100000 do t[i] = 'v' .. i end return t",
        "local t = {} for i = 1, 100000 do t['v' .. i] = 'v' end return {map = t}",
    ] {
        run_with(&mut vm(), code, &mut Canned::default(), Protocol::Resp2);
    }
    assert_eq!(
        run(
            "local t = {} for i = 1, 7880 do t[i] = 'v' .. i end return redis.call('x', unpack(t))"
        ),
        "+OK\r\n"
    );
}

#[test]
fn references_do_not_run_out() {
    for (code, reply) in [
        (
            "local t = {} for i = 1, 20000 do t[i] = string.gmatch('a' .. i, 'b' .. i) end return #t",
            ":20000\r\n",
        ),
        (
            "local big = {} for i = 1, 1e6 do big[i] = i end \
             for i = 1, 20000 do pcall(redis.call, {}) pcall(string.rep) end return #big",
            ":1000000\r\n",
        ),
        (
            "local t = {} for i = 1, 9000 do t[i] = cjson.new() end return #t",
            ":9000\r\n",
        ),
        (
            "local t = {} for i = 1, 8000 do t[i] = 'v' .. i end \
             pcall(redis.call, 'x', unpack(t, 1, 7880)) return redis.call('x')",
            "+OK\r\n",
        ),
    ] {
        assert_eq!(run(code), reply, "{code}");
    }
}

#[test]
fn a_source_is_not_collected_while_it_compiles() {
    let reply = run("for i = 1, 300 do \
           local name = '=' .. string.rep('n', i) \
           local f = load(function() collectgarbage() return nil end, name) \
           f = loadstring('local a = {} return function() return a, \"' .. string.rep('x', i) .. '\" end', name) \
           collectgarbage() f() \
         end return 1");
    assert_eq!(reply, ":1\r\n");
}
