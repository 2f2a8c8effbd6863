//! What runs in Lua's own C interface: replies, results, lists of arguments, errors and panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn ask(vm: &mut Vm, code: &str, keys: &[&[u8]], args: &[&[u8]]) -> String {
    let sha = digest(code.as_bytes());
    let mut out = Output::default();
    let script = Script {
        sha: &sha,
        code: code.as_bytes(),
    };
    let (keys, args) = (OwnedArgs::from_slices(keys), OwnedArgs::from_slices(args));
    let arguments = Arguments {
        keys: keys.as_args(),
        args: args.as_args(),
    };
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    match vm.run(script, arguments, &mut Canned::default(), &mut reply) {
        Ok(()) => String::from_utf8_lossy(&out.to_vec()).into_owned(),
        Err(failure) => format!("-{}", String::from_utf8_lossy(&failure.message)),
    }
}

fn reply_to(reply: &'static str, code: &str) -> String {
    let mut host = Canned {
        replies: vec![("x", reply)],
        ..Canned::default()
    };
    run_with(&mut vm(), code, &mut host, Protocol::Resp3)
}

#[test]
fn lists_have_what_the_request_has_and_nothing_else() {
    const SHOW: &str = "local n = 0 for k in pairs(KEYS) do n = n + 1 end \
                        for k in pairs(ARGV) do n = n + 1 end \
                        return {#KEYS, #ARGV, n, tostring(getmetatable(KEYS)), tostring(KEYS.x)}";
    let many: Vec<Vec<u8>> = (0..200_u8).map(|byte| vec![byte]).collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    for spoil in [
        "return 1",
        "KEYS.x = 1",
        "KEYS[1.5] = 1 KEYS[1] = nil",
        "KEYS[-1] = 1 KEYS[0] = 1",
        "KEYS[1] = nil KEYS.x = 1",
        "for i = 1, 1000 do KEYS[i] = i end",
        "for k in pairs(KEYS) do KEYS[k] = nil end KEYS.a = 1 KEYS.b = 2 KEYS.c = 3",
        "setmetatable(KEYS, {__index = {x = 1}})",
        "setmetatable(ARGV, {__newindex = function() end, __len = function() return 9 end})",
        "ARGV[{}] = KEYS KEYS[ARGV] = ARGV",
    ] {
        let mut vm = vm();
        for (before, after) in [(0, 0), (0, 1), (3, 1), (1, 3), (200, 2), (2, 200), (64, 64)] {
            ask(&mut vm, spoil, &many[..before], &many[..before]);
            let shown = ask(&mut vm, SHOW, &many[..after], &many[..after]);
            let count = after * 2;
            assert_eq!(
                shown,
                format!("*5\r\n:{after}\r\n:{after}\r\n:{count}\r\n$3\r\nnil\r\n$3\r\nnil\r\n"),
                "{spoil}: {before}, {after}"
            );
        }
    }
}

#[test]
fn nested_replies() {
    for (reply, code, expected) in [
        (
            "*2\r\n*1\r\n:1\r\n%1\r\n+k\r\n~1\r\n#f\r\n",
            "local r = redis.call('x') local k, v = next(r[2].map) return {k.ok, tostring(next(v.set))}",
            "*2\r\n$1\r\nk\r\n$5\r\nfalse\r\n",
        ),
        (
            "=7\r\ntxt:abc\r\n",
            "local v = redis.call('x').verbatim_string return {v.format, v.string}",
            "*2\r\n$3\r\ntxt\r\n$3\r\nabc\r\n",
        ),
        (
            "|1\r\n+a\r\n:1\r\n:2\r\n",
            "return redis.call('x')",
            ":2\r\n",
        ),
        (
            "*3\r\n:1\r\n_\r\n-WRONG kind\r\n",
            "local r = redis.call('x') return {r[1], tostring(r[2]), r[3].err}",
            "*3\r\n:1\r\n$3\r\nnil\r\n$10\r\nWRONG kind\r\n",
        ),
        (
            "%2\r\n_\r\n:1\r\n:2\r\n_\r\n",
            "return tostring(next(redis.call('x').map))",
            "$3\r\nnil\r\n",
        ),
        ("-\r\n", "return redis.pcall('x').err", "$4\r\nERR \r\n"),
        (
            "-nospace\r\n",
            "return redis.pcall('x').err",
            "$11\r\nERR nospace\r\n",
        ),
    ] {
        assert_eq!(reply_to(reply, code), expected, "{reply:?}");
    }
    for malformed in [
        "",
        "?",
        ":x\r\n",
        "$5\r\nab\r\n",
        "*2\r\n:1\r\n",
        "*9999999999\r\n",
        "%1\r\n",
    ] {
        let shown = reply_to(malformed, "return select(2, pcall(redis.call, 'x'))");
        assert!(
            shown.contains("not of the protocol"),
            "{malformed:?}: {shown}"
        );
    }
}

#[test]
fn nested_results() {
    for (code, expected) in [
        (
            "return {map = {a = {set = {x = true}}}}",
            "%1\r\n$1\r\na\r\n~1\r\n$1\r\nx\r\n",
        ),
        (
            "return {1, {ok = 'fine\\0no'}, {err = 'E x'}, nil, 5}",
            "*3\r\n:1\r\n+fine\r\n-E x\r\n",
        ),
        ("return {double = 2.5}", ",2.5\r\n"),
        ("return {big_number = '12\\r\\n3'}", "(12  3\r\n"),
        (
            "return {verbatim_string = {format = 'txt', string = 'abc'}}",
            "=7\r\ntxt:abc\r\n",
        ),
        (
            "return {{verbatim_string = {format = 1, string = 'abc'}, 7}, 8}",
            "*2\r\n*1\r\n:7\r\n:8\r\n",
        ),
        ("return {map = {[1.5] = print}}", "-ERR"),
        (
            "redis.setresp(3) return {true, false, nil}",
            "*2\r\n#t\r\n#f\r\n",
        ),
        ("return 2^70", ":-9223372036854775808\r\n"),
    ] {
        let reply = run_with(&mut vm(), code, &mut Canned::default(), Protocol::Resp3);
        assert!(reply.starts_with(expected), "{code}: {reply:?}");
    }
}

#[test]
fn sorts_are_those_of_the_quicksort_of_lua() {
    for (code, expected) in [
        (
            "local t = {3, 1, 2} table.sort(t) return table.concat(t, ',')",
            "1,2,3",
        ),
        (
            "local t = {5, 2, 8, 1, 9, 3} table.sort(t, function(a, b) return a > b end) return table.concat(t, ',')",
            "9,8,5,3,2,1",
        ),
        (
            "local t = {} for i = 1, 100 do t[i] = (i * 37) % 101 end table.sort(t) for i = 2, 100 do if t[i - 1] > t[i] then return i end end return 'sorted'",
            "sorted",
        ),
        // Equal elements: the order is visible.
        (
            "local t = {} for i = 1, 12 do t[i] = {k = i % 3, i = i} end table.sort(t, function(a, b) return a.k < b.k end) local r = {} for i, v in ipairs(t) do r[i] = v.i end return table.concat(r, ',')",
            "12,9,3,6,1,4,7,10,2,8,11,5",
        ),
        (
            "return select(2, pcall(table.sort, {1, 2, 3, 4}, function() return true end))",
            "invalid order function for sorting",
        ),
        (
            "return select(2, pcall(table.sort, {1, 'x'}))",
            "attempt to compare string with number",
        ),
        (
            "return select(2, pcall(table.sort, 1))",
            "bad argument #1 to '?' (table expected, got number)",
        ),
        (
            "return select(2, pcall(table.sort, {}, 1))",
            "bad argument #2 to '?' (function expected, got number)",
        ),
        (
            "local t = setmetatable({2, 1}, {__index = error, __newindex = error}) table.sort(t) return t[1]",
            ":1",
        ),
        ("table.sort(string) return 'nothing'", "nothing"),
    ] {
        let shown = text(code);
        assert_eq!(shown.trim_end(), expected, "{code}");
    }
}

#[test]
fn a_sort_of_numbers_is_stopped() {
    let code =
        "local t = {} for i = 1, 200000 do t[i] = (i * 7919) % 200003 end pcall(table.sort, t)";
    let mut host = Canned {
        // The loop asks some hundred times at most.
        patience: Some(150),
        ..Canned::default()
    };
    let (_, failure) = run_raw(&mut vm(), code.as_bytes(), &mut host, Protocol::Resp2);
    assert!(failure.is_some_and(|failure| failure.stopped));
}

/// A host whose command panics.
struct Panicking;

impl Host for Panicking {
    fn call(&mut self, _: Args<'_>, _: Protocol, _: &mut Output) {
        std::panic::panic_any("of a command");
    }

    fn set_replication(&mut self, _: Replication) {
        std::panic::panic_any("of a function");
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn acl_check(&mut self, _: &[&[u8]]) -> AclVerdict {
        AclVerdict::Invalid
    }

    fn interrupt(&mut self) -> Option<Stop> {
        None
    }
}

#[test]
fn a_panic_goes_on_behind_the_interpreter() {
    for (code, expected) in [
        ("pcall(redis.call, 'x') return 1", "of a command"),
        ("while true do pcall(redis.pcall, 'x') end", "of a command"),
        ("pcall(redis.set_repl, 1) return {}", "of a function"),
    ] {
        let mut vm = vm();
        let sha = digest(code.as_bytes());
        let script = Script {
            sha: &sha,
            code: code.as_bytes(),
        };
        let none = OwnedArgs::new();
        let arguments = Arguments {
            keys: none.as_args(),
            args: none.as_args(),
        };
        let mut out = Output::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut reply = Reply::new(&mut out, Protocol::Resp2);
            vm.run(script, arguments, &mut Panicking, &mut reply)
        }));
        let panic = result.expect_err("no panic");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&expected), "{code}");
        assert!(out.is_empty());
    }
}

#[test]
fn strings() {
    for (code, expected) in [
        (
            "return #string.rep('ab', 100) .. string.rep('ab', 3) .. string.rep('', 9) .. string.rep('x', -1) .. #string.rep('x', 300)",
            "200ababab300",
        ),
        (
            "local t = {} for a, b, c in string.gmatch('x1y2', '(%a)(%d)()') do t[#t + 1] = a .. b .. c end return table.concat(t, ' ')",
            "x13 y25",
        ),
        (
            "local n = 0 for w in string.gmatch('abc', '') do n = n + 1 end return '' .. n",
            "4",
        ),
        (
            "local t = {} for w in string.gmatch('a b', '^%a') do t[#t + 1] = w end return '' .. #t",
            "0",
        ),
        (
            "return table.concat({string.find('a.b', '.', 2, true)}, ',')",
            "2,2",
        ),
        (
            "return table.concat({string.find('abc', 'b', -2)}, ',')",
            "2,2",
        ),
        (
            "return table.concat({string.find('abc', '', 10)}, ',')",
            "4,3",
        ),
        (
            "return table.concat({string.find('abc', '(b)(c)')}, ',')",
            "2,3,b,c",
        ),
        (
            "return table.concat({string.match('abc', '()b()')}, ',')",
            "2,3",
        ),
        ("return tostring(string.match('abc', 'x'))", "nil"),
        (
            "return (select(2, pcall(string.match, 'abc', '(b')))",
            "unfinished capture",
        ),
        (
            "return (select(2, pcall(string.match, 'abc', '%1')))",
            "invalid capture index",
        ),
        (
            "return (select(2, pcall(function() local x = ('x'):rep({}) end)))",
            "user_script:1: bad argument #1 to 'rep' (number expected, got table)",
        ),
        (
            "return (select(2, pcall(function() for w in ('x'):gmatch('[') do end end)))",
            "user_script:1: malformed pattern (missing ']')",
        ),
        (
            "return string.match(12345, 3 .. '(.)') .. string.find(12, 2)",
            "42",
        ),
        (
            "return (string.gsub('a b', '%a', function(c) return string.match('(' .. c .. ')', '%((.)') .. string.gsub(c, '.', '%0%0') end))",
            "aaa bbb",
        ),
        (
            "local t = {} table.insert(t, 'b') table.insert(t, 1, 'a') table.insert(t, 5, 'e') return t[1] .. t[2] .. t[5]",
            "abe",
        ),
        (
            "return (select(2, pcall(table.insert, {}, 1, 2, 3)))",
            "wrong number of arguments to 'insert'",
        ),
        (
            "return (select(2, pcall(table.insert, 1, 2)))",
            "bad argument #1 to '?' (table expected, got number)",
        ),
    ] {
        assert_eq!(text(code), expected, "{code}");
    }
}
