#!/usr/bin/env python3
"""Compares the Lua of Lodestore with that of another server.

Random programs run in both: either in the example `run` of crates/script, or with EVAL on a server. The
replies must be the same, byte for byte, but for the SHA-1 in errors and for addresses.

    cargo build --release -p lodestore-script --example run
    conformance/lua.py --peer 127.0.0.1:6379 --ours target/release/examples/run --count 100000
    conformance/lua.py --peer 127.0.0.1:6379 --ours 127.0.0.1:7000

It prints its seed, and takes it back with --seed.
"""

import argparse
import random
import re
import socket
import subprocess
import sys

# A batch is sent as a whole before its replies are read.
BATCH = 200


class Server:
    """EVAL on a server."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.file = self.socket.makefile("rb")

    def run(self, programs):
        out = bytearray()
        for program in programs:
            out += b"*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(program), program)
        self.socket.sendall(out)
        return [self.reply() for _ in programs]

    def reply(self):
        line = self.file.readline()
        if line[:1] == b"$" and line != b"$-1\r\n":
            return line + self.file.read(int(line[1:]) + 2)
        if line[:1] == b"*" and line != b"*-1\r\n":
            return line + b"".join(self.reply() for _ in range(int(line[1:])))
        return line


class Example:
    """The example of the crate."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, programs):
        replies = []
        for program in programs:
            self.process.stdin.write(b"%d\n%s" % (len(program), program))
            self.process.stdin.flush()
            length = self.process.stdout.readline()
            if not length:
                raise SystemExit(f"the example ended at {program!r}")
            replies.append(self.process.stdout.read(int(length)))
        return replies


def connect(target):
    return Server(target) if re.fullmatch(r"[\w.-]+:\d+", target) else Example(target)


# ---------------------------------------------------------------------------------------- values

STRINGS = [
    "", "a", "abc", "hello world", "key=value, a=1", "  x  ", "THE (quick) fox", "a.b.c", "%d%s", "f(a(b)c)d",
    "\\0", "a\\0b", "\\255\\254", "\\n\\r\\t", "12", "0x1F", "1e5", " 7 ", "-0", "nan", "inf", "\\195\\169", "[[x]]",
    "aaaaaaaaaa", "ab" * 20, "x" * 120, "\\127", "\\\"", "\\\\", "/", "{}", "[1,2]", "null", "é",
]

NUMBERS = [
    "0", "1", "-1", "2", "3", "7", "10", "15", "16", "31", "32", "33", "127", "128", "255", "256", "-32", "-33",
    "-128", "-129", "32767", "32768", "-32768", "-32769", "65535", "65536", "2147483647", "2147483648", "-2147483648",
    "-2147483649", "4294967295", "4294967296", "2^53", "2^53+1", "-(2^53)", "2^63", "2^64", "-(2^63)", "1e15", "1e14",
    "1e100", "-1e100", "1e-5", "1e-7", "0.1", "0.5", "1.5", "-1.5", "3.14159265358979", "1/3", "-1/3", "123456.789",
    "1e308*10", "-1e308*10", "0/0", "-0", "100000000000000", "123456789012345", "1234567890123456", "0.1+0.2", "1e21",
]

PATTERNS = [
    "a", ".", "%a+", "%d+", "%s*", "(%w+)", "(%w+)=(%w+)", "^%s*(.-)%s*$", "[a-c]+", "[^a-c]", "%b()", "%f[%a]%a+", "a*",
    "a-", "a?b", "(a)(b)", "()", "(.)%1", "%.", "x$", "^x", "[%w_]+", "[]]", "[^]]", "[a-]", "%z", "%c", "%p", "%x%x",
    "(a*(.)%w(%s*))", "%", "[a", "(a", "a)", "%1", "(()", "%f", "%b", "%bx", "[%a", "^", "$", "^$", "a^b", "a$b", "-",
    "[a-z%d]", "[%", "(.-)%s", ".-", ".+", "(%d*)(%a*)", "%u%l", "h.-o", "l+", "[", "]", "%]", "\\0", "[\\0-a]", "%S+",
]


class Generator:
    def __init__(self, rng):
        self.rng = rng

    def pick(self, items):
        return self.rng.choice(items)

    def string(self):
        rng = self.rng
        if rng.random() < 0.7:
            return '"%s"' % self.pick(STRINGS)
        return '"%s"' % "".join("\\%d" % rng.randrange(256) + rng.choice(["", "a", " "]) for _ in range(rng.randrange(6)))

    def number(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.6:
            return self.pick(NUMBERS)
        if kind < 0.8:
            return str(rng.randrange(-20, 20))
        return repr(rng.uniform(-1000, 1000))

    def scalar(self):
        return self.pick([self.number, self.string, lambda: self.pick(["nil", "true", "false"])])()

    def value(self, depth=0):
        rng = self.rng
        kind = rng.random()
        if depth > 3 or kind < 0.7:
            return self.scalar()
        if kind < 0.9:
            return "{%s}" % ", ".join(self.value(depth + 1) for _ in range(rng.randrange(5)))
        if kind < 0.95:
            # One key: the order of several is that of the hash function.
            return "{[%s]=%s}" % (self.pick(["'k'", "1", "2", "11", "0", "-1", "1.5", "'1'", "true"]), self.value(depth + 1))
        return self.pick(["{}", "print1", "cjson.null", "tostring", "setmetatable({}, {})"]).replace("print1", "type")

    # ------------------------------------------------------------------------------- expressions

    def show(self, expression):
        """All results of an expression as one string, errors included."""
        return "return show(pcall(function() return id(%s) end))" % expression

    def call_string(self):
        s, p, rng = self.string, lambda: '"%s"' % self.pick(PATTERNS), self.rng
        n = lambda: self.pick(["1", "2", "0", "-1", "-3", "5", "100", "nil", "'2'", "1.5", "-100", "'x'"])
        v = self.value
        return self.pick([
            lambda: f"string.find({s()}, {p()}, {n()})",
            lambda: f"string.find({s()}, {p()}, {n()}, {self.pick(['true', 'false', 'nil'])})",
            lambda: f"string.match({s()}, {p()}, {n()})",
            lambda: f'''string.gsub({s()}, {p()}, {self.pick([s(), s(), '"%0%1"', '"%1"', '"%%"', '"<%0>"', '"%2"', '"%"', '{a=1, b=true, abc=false}', 'function(...) return ... end', 'function() return nil end', 'function() return {} end', 'string.upper', '7', 'nil', 'true'])}, {n()})''',
            lambda: f"({s()}):gsub({p()}, '%0%0')",
            lambda: f"(function() local r = {{}} for a, b in string.gmatch({s()}, {p()}) do r[#r+1] = tostring(a) .. ':' .. tostring(b) end return table.concat(r, '|') end)()",
            lambda: f'''string.rep({s()}, {self.pick(['0', '1', '3', '-1', '2.5', 'nil', '"2"'])})''',
            lambda: f"string.sub({s()}, {n()}, {n()})",
            lambda: f"string.byte({s()}, {n()}, {n()})",
            lambda: f'''string.char({self.pick(['65', '0', '255', '256', '-1', '65, 66', 'nil', '"65"', '1.5'])})''',
            lambda: f"string.{self.pick(['upper', 'lower', 'len', 'reverse'])}({v()})",
            lambda: f"string.format('{self.pick(['%d', '%5d', '%-5d|', '%05d', '%+d', '%x', '%X', '%o', '%u', '%c', '%s', '%10s', '%-10s|', '%.3s', '%q', '%i', '%e', '%.3f', '%g', '%G', '%E', '%5.1f', '%%', '%', '%y', '%#x', '%099d', '%100d', '% d', '%.14g', '%.17g', '%.99f'])}', {self.pick([self.number, self.string, self.scalar])()})",
            lambda: f"string.{self.pick(['find', 'match', 'gsub', 'gmatch', 'format', 'sub', 'byte', 'len', 'gfind'])}({', '.join(v() for _ in range(rng.randrange(4)))})",
            lambda: f"tostring({v()}) .. {self.scalar()}",
            lambda: f"tonumber({self.pick([s, self.number])()}, {self.pick(['nil', '10', '16', '2', '36', '37', '1', '8'])})",
            lambda: f"tonumber({v()})",
            lambda: f"#{self.pick([s, v])()}",
        ])()

    def call_table(self):
        v, rng = self.value, self.rng
        items = lambda: "{%s}" % ", ".join(self.pick([self.number, self.string])() for _ in range(rng.randrange(12)))
        numbers = lambda: "{%s}" % ", ".join(str(rng.randrange(20)) for _ in range(rng.randrange(30)))
        pairs = lambda: "{%s}" % ", ".join("{%d, %d}" % (rng.randrange(5), i) for i in range(rng.randrange(20)))
        n = lambda: self.pick(["1", "2", "0", "-1", "3", "100", "nil", "'2'", "1.5"])
        return self.pick([
            lambda: f"(function() local t = {items()} local r = {{table.insert(t, {v()})}} return t, #r end)()",
            lambda: f"(function() local t = {items()} table.insert(t, {n()}, {self.scalar()}) return t end)()",
            lambda: f"(function() local t = {items()} local r = table.remove(t, {n()}) return t, r end)()",
            lambda: f"(function() local t = {items()} return table.remove(t), t end)()",
            lambda: f"table.concat({items()}, {self.pick([self.string(), 'nil', '1'])}, {n()}, {n()})",
            lambda: f"table.concat({{{v()}, {v()}}})",
            lambda: f"(function() local t = {numbers()} table.sort(t) return t end)()",
            lambda: f"(function() local t = {numbers()} table.sort(t, function(a, b) return a > b end) return t end)()",
            lambda: f"(function() local t = {items()} table.sort(t) return t end)()",
            lambda: f"(function() local t = {pairs()} table.sort(t, function(a, b) return a[1] < b[1] end) return t end)()",
            lambda: f"(function() local t = {numbers()} table.sort(t, function(a, b) return {self.pick(['true', 'false', 'a <= b', 'nil', '1', 'a % 3 < b % 3', 'a % 2 == 0'])} end) return t end)()",
            lambda: f"(function() local t = setmetatable({numbers()}, {{__index = function() return 1 end, __newindex = function() end}}) table.sort(t) return t end)()",
            lambda: f"table.maxn({v()})",
            lambda: f"table.getn({v()})",
            lambda: f"table.setn({v()}, 1)",
            lambda: f"table.foreachi({items()}, function(i, x) if i == 3 then return x end end)",
            lambda: f"unpack({items()}, {n()}, {n()})",
            lambda: f"unpack({v()})",
            lambda: f'''select({self.pick(['1', '2', '-1', '0', '"#"', '5', 'nil', '-5'])}, {v()}, {v()})''',
            lambda: f'''next({self.pick(['{}', '{1}', '{1}, 1', '{1}, 2', 'nil', '{a=1}, "a"'])})''',
            lambda: f"rawget({v()}, {self.scalar()})",
            lambda: f"rawset({v()}, {self.scalar()}, {self.scalar()})",
            lambda: f"rawequal({self.scalar()}, {self.scalar()})",
            lambda: f"setmetatable({v()}, {v()}) and 1",
            lambda: f"getmetatable({v()}) and 1",
            lambda: f"table.{self.pick(['insert', 'remove', 'concat', 'sort', 'getn', 'maxn', 'foreach'])}({', '.join(v() for _ in range(rng.randrange(4)))})",
            lambda: f"{self.pick(['type', 'tostring', 'tonumber', 'ipairs', 'pairs', 'next', 'rawget', 'rawset', 'rawequal', 'setmetatable', 'getmetatable', 'select', 'unpack', 'assert', 'error', 'pcall', 'xpcall', 'loadstring', 'load', 'collectgarbage', 'coroutine.create', 'coroutine.wrap', 'coroutine.resume', 'coroutine.status', 'coroutine.yield'])}({', '.join(self.pick([self.scalar, self.scalar, lambda: 'type'])() for _ in range(rng.randrange(3)))}) and 1",
        ])()

    def call_math(self):
        n, rng = lambda: self.pick([self.number, self.number, self.scalar])(), self.rng
        name = self.pick(["abs", "ceil", "floor", "fmod", "max", "min", "modf", "frexp", "ldexp", "sqrt", "pow", "mod",
                          "log10", "deg", "rad"])
        bit = self.pick(["tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap", "tohex"])
        return self.pick([
            lambda: f"math.{name}({', '.join(n() for _ in range(rng.randrange(3)))})",
            lambda: f"bit.{bit}({', '.join(n() for _ in range(rng.randrange(4)))})",
            lambda: f"{n()} {self.pick(['+', '-', '*', '/', '%', '^', '<', '<=', '==', '..', '~='])} {n()}",
            lambda: f'''(function() math.randomseed({self.pick(['1', '0', '-5', '123456789', '"3"', 'nil'])}) return math.random(), math.random({self.pick(['10', '0', '1', '-1', '2^31'])}), math.random({self.pick(['1, 6', '5, 1', '-3, 3', '1, 2, 3'])}) end)()''',
            lambda: f"tostring({n()})",
        ])()

    def call_json(self):
        v, rng = self.value, self.rng
        texts = ['[1,2,3]', '{"a":1}', '[', ']', '{', '{"a"', '{"a":', '{"a":1,', '[1 2]', 'nul', 'null', 'true', 'tru', '"a', '"\\u00e9"',
                 '"\\ud800"', '"\\ud83d\\ude00"', '"\\x"', '1', '-', '+1', '0x10', '01', '1.5e3', '1e', 'inf', '-inf', 'nan', 'Infinity', '.5', '5.',
                 '[1,]', '{"a":1}x', '', ' ', '[[[[1]]]]', '"a\\nb"', '"\\u0000"', '\\0', '[1\\0]', '-0', '1e400', '1e-400', '{"a":{"b":[]}}', '[]', '{}',
                 '{1:2}', '[true,false,null]', '123456789012345678901234567890', '"\\/\\b\\f\\n\\r\\t\\""', '--1', '-x', 'nano', '[nan]', 'N', 'i', '0x', '0x1p4', '00']
        quoted = lambda: '"%s"' % self.pick(texts).replace("\\", "\\\\").replace('"', '\\"').replace("\\\\0", "\\0")
        return self.pick([
            lambda: f"cjson.encode({v()})",
            lambda: f"cjson.encode({v()})",
            lambda: f"cjson.decode({quoted()})",
            lambda: f"cjson.encode(cjson.decode({quoted()}))",
            lambda: f'''(function() {self.pick(['cjson.encode_sparse_array(true)', 'cjson.encode_sparse_array(true, 1, 1)', 'cjson.encode_max_depth(2)', 'cjson.decode_max_depth(2)', 'cjson.encode_number_precision(3)', 'cjson.encode_invalid_numbers(true)', 'cjson.encode_invalid_numbers("null")', 'cjson.decode_invalid_numbers(false)', 'cjson.encode_keep_buffer(false)'])} local ok, e = pcall(cjson.{self.pick(['encode', 'decode'])}, {self.pick([v, quoted])()}) cjson.encode_sparse_array(false, 2, 10) cjson.encode_max_depth(1000) cjson.decode_max_depth(1000) cjson.encode_number_precision(14) cjson.encode_invalid_numbers(false) cjson.decode_invalid_numbers(true) cjson.encode_keep_buffer(true) return ok, e end)()''',
            lambda: f'''(function() local r = {{pcall(cjson.{self.pick(['encode_sparse_array', 'encode_max_depth', 'decode_max_depth', 'encode_number_precision', 'encode_keep_buffer', 'encode_invalid_numbers', 'decode_invalid_numbers'])}, {', '.join(self.pick([self.scalar, lambda: self.pick(['true', 'false', '1', '2', '"on"', '"off"', '"null"'])])() for _ in range(rng.randrange(3)))})}} cjson.encode_sparse_array(false, 2, 10) cjson.encode_max_depth(1000) cjson.decode_max_depth(1000) cjson.encode_number_precision(14) cjson.encode_invalid_numbers(false) cjson.decode_invalid_numbers(true) cjson.encode_keep_buffer(true) return unpack(r) end)()''',
            lambda: f"cjson.{self.pick(['encode', 'decode'])}({', '.join(v() for _ in range(rng.randrange(3)))})",
            lambda: f"cjson.new().encode({v()})",
        ])()

    def call_pack(self):
        v, rng = self.value, self.rng
        raw = lambda: '"%s"' % "".join("\\%d" % self.pick([rng.randrange(256), rng.randrange(0x80, 0xe0), 0x91, 0x81, 0xa1, 0xc0, 0xcc]) + ("a" if rng.random() < 0.2 else "") for _ in range(rng.randrange(1, 12)))
        numbers = lambda: ", ".join(self.number() for _ in range(rng.randrange(1, 4)))
        return self.pick([
            lambda: f"hex(cmsgpack.pack({', '.join(v() for _ in range(rng.randrange(4)))}))",
            lambda: f"hex(cmsgpack.pack({numbers()}))",
            lambda: f"cmsgpack.unpack(cmsgpack.pack({v()}, {v()}))",
            lambda: f"cmsgpack.unpack({raw()})",
            lambda: f"cmsgpack.unpack({raw()})",
            lambda: f"cmsgpack.unpack_one({self.pick([raw(), 'cmsgpack.pack(1, 2, 3)'])}, {self.pick(['0', '1', '2', '3', '-1', '100', 'nil'])})",
            lambda: f"cmsgpack.unpack_limit({self.pick([raw(), 'cmsgpack.pack(1, 2, 3)'])}, {self.pick(['0', '1', '2', '-1', '100', 'nil'])}, {self.pick(['0', '1', 'nil', '-1'])})",
            lambda: f"cmsgpack.{self.pick(['pack', 'unpack', 'unpack_one', 'unpack_limit'])}({', '.join(self.scalar() for _ in range(rng.randrange(3)))})",
        ])()

    def call_struct(self):
        rng = self.rng
        options = ["b", "B", "h", "H", "l", "L", "T", "i", "I", "i1", "i2", "I3", "i8", "i7", "I16", "i0", "f", "d", "s", "c3", "c0", "c1", "x",
                   " ", ">", "<", "!", "!2", "!4", "!3", "y", "i33", "c", "z", "!8", "i9"]
        form = lambda: '"%s"' % "".join(self.pick(options) for _ in range(rng.randrange(1, 6)))
        args = lambda: ", ".join(self.pick([self.number, self.number, self.string])() for _ in range(rng.randrange(5)))
        data = lambda: '"%s"' % "".join("\\%d" % rng.randrange(256) for _ in range(rng.randrange(24)))
        return self.pick([
            lambda: f"hex(struct.pack({form()}, {args() or 1}))",
            lambda: f"struct.unpack({form()}, {data()})",
            lambda: f"struct.unpack({form()}, {data()}, {self.pick(['1', '2', '0', '-1', '100', 'nil'])})",
            lambda: f"struct.size({form()})",
            lambda: f"struct.{self.pick(['pack', 'unpack', 'size'])}({', '.join(self.scalar() for _ in range(rng.randrange(3)))})",
        ])()

    def call_server(self):
        v, s = self.value, self.string
        return self.pick([
            lambda: f"redis.error_reply({v()})",
            lambda: f"redis.status_reply({v()})",
            lambda: f"redis.sha1hex({v()})",
            lambda: f"redis.setresp({self.scalar()})",
            lambda: f"redis.pcall({v()})",
            lambda: f"redis.call('echo', {v()})",
            lambda: f"redis.call('ping')",
            lambda: f"redis.pcall('nosuch', {s()})",
            lambda: f"redis.log({self.scalar()})",
            lambda: f"redis.set_repl({self.scalar()})",
            lambda: f"redis.call()",
        ])()

    def expression(self):
        return self.pick([self.call_string, self.call_string, self.call_table, self.call_table, self.call_math, self.call_json,
                          self.call_pack, self.call_struct, self.call_server])()

    # ------------------------------------------------------------------------------------ programs

    def statement(self, depth):
        rng = self.rng
        name = lambda: self.pick(["a", "b", "c"])
        e = lambda: self.pick([self.scalar, self.scalar, lambda: name(), lambda: f"{name()} {self.pick(['+', '-', '*', '..', '%', '=='])} {self.scalar()}",
                               self.expression])()
        block = lambda: " ".join(self.statement(depth + 1) for _ in range(rng.randrange(1, 3)))
        simple = [
            lambda: f"{name()} = {e()}",
            lambda: f"local {name()} = {e()}",
            lambda: f"note({e()})",
            lambda: f"note(pcall(function() return id({e()}) end))",
        ]
        if depth > 2:
            return self.pick(simple)()
        return self.pick(simple + [
            lambda: f"if {e()} then {block()} else {block()} end",
            lambda: f'''for i = {self.pick(['1, 3', '3, 1, -1', '1, 0', '0.5, 2, 0.5', '1, "2"', '1, nil', '1, 3, 0'][:6])} do note(i) {block()} end''',
            lambda: f"for i, x in ipairs({self.value()}) do note(i, x) {block()} end",
            lambda: f"do local n = 0 while n < {rng.randrange(3)} do n = n + 1 {block()} end end",
            lambda: f"note(pcall(function() {block()} error({self.pick([e(), self.string(), '{code=1}', 'nil', self.string() + ', ' + self.pick(['0', '1', '2'])])}) end))",
            lambda: f"note(xpcall(function() {block()} return id({e()}) end, function(m) note('handler', m) return {self.pick(['m', '1', 'tostring(m)'])} end))",
            lambda: f"do local co = coroutine.create(function(...) note(...) local x = coroutine.yield({e()}) {block()} return x end) note(coroutine.resume(co, {e()})) note(coroutine.resume(co, {e()})) note(coroutine.status(co)) note(coroutine.resume(co)) end",
            lambda: f"do local f = coroutine.wrap(function() for i = 1, 2 do coroutine.yield(i) end {block()} end) note(pcall(f)) note(pcall(f)) note(pcall(f)) note(pcall(f)) end",
            lambda: f'''do local t = setmetatable({{}}, {{{self.pick(['__index', '__newindex', '__call', '__add', '__concat', '__eq', '__lt', '__le', '__tostring', '__len', '__unm', '__metatable'])} = {self.pick(['function(...) note(select("#", ...)) return 1 end', '{x=1}', '1', 'rawset'])}}}) note(pcall(function() {self.pick(['t.x = 1', 'return t.x', 'return (t())', 'return t + 1', 'return 1 + t', 'return t .. "x"', 'return t == t', 'return t < t', 'return t <= t', 'return #t', 'return -t', 'return (type(tostring(t)))', 'return (type(getmetatable(t)))', 'return setmetatable(t, {})  and 1'])} end)) end''',
            lambda: f"do local function f(n, ...) if n > 0 then return f(n - 1, n, ...) end return ... end note(f({rng.randrange(5)})) end",
            lambda: f'''note(loadstring({self.pick([self.string(), '"return 1"', '"return " .. ' + self.string(), '"x ="', '"error(1)"', '"for"', '"return ..."'])}{self.pick(['', ', "=name"', ', "@file"'])}))''',
        ])()

    def program(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.55:
            return PRELUDE + self.show(self.expression())
        if kind < 0.65:
            return "local function id(...) return ... end return id(%s)" % self.expression()
        if kind < 0.70:
            return "return " + self.value()
        if kind < 0.72:
            return self.string()[1:-1] + " " + self.expression()
        body = " ".join(self.statement(0) for _ in range(rng.randrange(1, 5)))
        return PRELUDE + "local a, b, c = 1, 'x', {} " + body + " return table.concat(log, '\\n')"


# Formats values without what differs by right: addresses, and the order of keys.
PRELUDE = """
local log = {}
local function id(...) return ... end
local function hex(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end
local function format(v, depth)
  local t = type(v)
  if t == 'string' then return string.format('%q', v) end
  if t == 'number' then return string.format('%.17g', v) end
  if t == 'table' then
    if depth > 4 then return '{...}' end
    local items, keys = {}, {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys, function(x, y)
      if type(x) == type(y) and (type(x) == 'number' or type(x) == 'string') then return x < y end
      return type(x) < type(y)
    end)
    for _, k in ipairs(keys) do items[#items + 1] = format(k, depth + 1) .. '=' .. format(rawget(v, k), depth + 1) end
    return '{' .. table.concat(items, ',') .. '}'
  end
  if t == 'function' or t == 'thread' then return t end
  return tostring(v)
end
local function show(...)
  local r = {}
  for i = 1, select('#', ...) do r[i] = format((select(i, ...)), 0) end
  return table.concat(r, ' ')
end
local function note(...) log[#log + 1] = show(...) end
"""

SUFFIX = re.compile(rb" script: (?:[0-9a-f]{40}, )?on ")
ADDRESS = re.compile(rb"(table|function|thread|userdata): (?:builtin: )?(0x[0-9a-f]+|\(nil\))")


def normal(reply):
    reply = SUFFIX.sub(b" script: on ", reply)
    without = ADDRESS.sub(rb"\1: ADDRESS", reply)
    if without != reply and reply[:1] == b"$":
        # The length of an address differs.
        without = b"$?" + without[without.index(b"\r"):]
    return without


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="host:port of the other server")
    parser.add_argument("--ours", required=True, help="host:port of a server, or the path of the example")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--differences", type=int, default=20, help="stop after as many")
    options = parser.parse_args()
    print("seed", options.seed, flush=True)
    generator = Generator(random.Random(options.seed))
    peer, ours = connect(options.peer), connect(options.ours)
    differences = done = 0
    while done < options.count:
        programs = [generator.program().encode("utf-8", "surrogateescape") for _ in range(BATCH)]
        for program, theirs, own in zip(programs, peer.run(programs), ours.run(programs)):
            if normal(theirs) != normal(own):
                differences += 1
                shown = program.replace(PRELUDE.encode(), b"").decode("utf-8", "backslashreplace")
                print(f"--- {shown}\n  peer {theirs[:400]!r}\n  ours {own[:400]!r}", flush=True)
                if differences >= options.differences:
                    sys.exit(1)
        done += len(programs)
    print(f"{done} programs, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
