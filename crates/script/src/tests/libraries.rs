//! The libraries.

use super::*;

#[test]
fn patterns() {
    for (code, expected) in [
        (
            "return table.concat({string.find('hello world', 'o w')}, ',')",
            "5,7",
        ),
        (
            "return table.concat({string.find('hello', 'l+')}, ',')",
            "3,4",
        ),
        (
            "return table.concat({string.match('key=value', '(%w+)=(%w+)')}, ',')",
            "key,value",
        ),
        (
            "return table.concat({string.gsub('abc', '%w', '%0%0')}, ',')",
            "aabbcc,3",
        ),
        (
            "return table.concat({string.gsub('hello', '', '-')}, ',')",
            "-h-e-l-l-o-,6",
        ),
        (
            "return table.concat({string.gsub('abc', 'b', {b = 'X'})}, ',')",
            "aXc,1",
        ),
        (
            "return table.concat({string.gsub('abc', '%w', function(c) if c == 'b' then return 9 end end)}, ',')",
            "a9c,3",
        ),
        (
            "local r = '' for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do r = r .. k .. v end return r",
            "a1b2",
        ),
        (
            "return string.match('THE (quick) fox', '%((%a+)%)')",
            "quick",
        ),
        ("return string.match('f(a(b)c)d', '%b()')", "(a(b)c)"),
        (
            "return string.gsub('THE (quick) fox', '%f[%a]%a+', 'x')",
            "x (x) x",
        ),
        ("return string.match('aaab', '^(a-)b')", "aaa"),
        ("return tostring(string.find('a.b', '.', 2, true))", "2"),
        (
            "return select(2, pcall(string.rep))",
            "bad argument #1 to '?' (string expected, got no value)",
        ),
        (
            "return select(2, pcall(string.find, 'a', '[a'))",
            "malformed pattern (missing ']')",
        ),
        (
            "return select(2, pcall(string.find, 'a', '%'))",
            "malformed pattern (ends with '%')",
        ),
    ] {
        assert_eq!(text(code), expected, "{code}");
    }
}

#[test]
fn json() {
    for (code, expected) in [
        (
            "return cjson.encode({1, 2.5, 'x', true, cjson.null})",
            "[1,2.5,\"x\",true,null]",
        ),
        ("return cjson.encode({})", "{}"),
        (
            "return cjson.encode('a/b\"\\n\\0')",
            "\"a\\/b\\\"\\n\\u0000\"",
        ),
        ("return cjson.encode({[3] = 1})", "[null,null,1]"),
        (
            "return select(2, pcall(cjson.encode, {[100] = 1}))",
            "Cannot serialise table: excessively sparse array",
        ),
        (
            "return cjson.encode(cjson.decode('{\"a\":[1,2,{\"b\":null}]}'))",
            "{\"a\":[1,2,{\"b\":null}]}",
        ),
        (
            "return select(2, pcall(cjson.decode, '[1,'))",
            "Expected value but found T_END at character 4",
        ),
        (
            "return select(2, pcall(cjson.decode, '{1}'))",
            "Expected object key string but found T_NUMBER at character 2",
        ),
        (
            "return cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\"')",
            "é😀",
        ),
        ("return tostring(cjson.decode('0x10'))", "16"),
    ] {
        assert_eq!(text(code), expected, "{code}");
    }
}

#[test]
fn packs() {
    for (code, expected) in [
        (
            "return cjson.encode({cmsgpack.unpack(cmsgpack.pack(1, -1, 300, 'x', {1, 2}, {a = 1}, 1.5, true))})",
            "[1,-1,300,\"x\",[1,2],{\"a\":1},1.5,true]",
        ),
        (
            "return select(2, pcall(cmsgpack.unpack, '\\146\\1'))",
            "Missing bytes in input.",
        ),
        (
            "return table.concat({struct.unpack('>I2<i4bs', struct.pack('>I2<i4bs', 258, -5, -1, 'hi'))}, ',')",
            "258,-5,-1,hi,11",
        ),
        ("return tostring(struct.size('!4bi'))", "8"),
        (
            "return tostring(bit.bor(1, 6, 0xf00)) .. bit.tohex(255)",
            "3847000000ff",
        ),
    ] {
        assert_eq!(text(code), expected, "{code}");
    }
}

#[test]
fn base_functions() {
    for (code, expected) in [
        ("return select(2, pcall(error, {err = 'ERR x'}))", "ERR x"),
        ("local ok, e = pcall(error, 'm', 0) return e", "m"),
        (
            "return select(2, xpcall(function() error('a', 0) end, function(e) return e .. 'b' end))",
            "ab",
        ),
        ("return tostring(unpack({1, 2, 3}, 2))", "2"),
        (
            "local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) error('e' .. b) end) co(1) return select(2, pcall(co, 5))",
            "user_script:1: e5",
        ),
        (
            "local t = {5, 2, 8, 1} table.sort(t, function(a, b) return a > b end) return table.concat(t, ',')",
            "8,5,2,1",
        ),
        (
            "return select(2, pcall(table.sort, {1, 'x'}))",
            "attempt to compare string with number",
        ),
        (
            "local t = {1, 2} table.insert(t, 1, 0) return table.concat(t, ',')",
            "0,1,2",
        ),
        (
            "return select(2, pcall(table.insert, {}))",
            "wrong number of arguments to 'insert'",
        ),
        ("return tostring(loadstring('return 1 + 1')())", "2"),
        (
            "return select(2, loadstring('x ='))",
            "[string \"x =\"]:1: unexpected symbol near '<eof>'",
        ),
        (
            "return string.format('%5.1f|%d|%s|%q', 3.14159, 42, 'x', 'a\"b')",
            "  3.1|42|x|\"a\\\"b\"",
        ),
        (
            "return tostring(1e15) .. ' ' .. tostring(0.1) .. ' ' .. 2^53",
            "1e+15 0.1 9.007199254741e+15",
        ),
    ] {
        assert_eq!(text(code), expected, "{code}");
    }
}
