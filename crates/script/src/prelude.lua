-- Builds what scripts see, around the libraries of PUC Lua 5.1. The code runs once per VM, with
-- the base library as its globals. Errors are raised by functions of Rust, which skip the functions
-- of this file when they name a place.
local rust = ...
local pcall, xpcall, type, select, next = pcall, xpcall, type, select, next
local raw_getmetatable, raw_setmetatable = getmetatable, setmetatable
local raw_resume, raw_create = coroutine.resume, coroutine.create
local raw_rawget, raw_rawset, raw_unpack = rawget, rawset, unpack
local raw_collectgarbage = collectgarbage
local caught, caught_by_pcall, rethrow = rust.caught, rust.caught_by_pcall, rust.rethrow
local stopped, interrupt, compile = rust.stopped, rust.interrupt, rust.compile
local argument_error, type_error, error_at = rust.argument_error, rust.type_error, rust.error_at
local read_only, plain_error = rust.read_only, rust.plain_error

-- The table that each read-only table stands for. A script gets the empty table in front only.
local real = {}
-- What getmetatable gives for a read-only table.
local shown = {}

local function protect(table, fallback)
  local front = {}
  real[front] = table
  if fallback then
    raw_setmetatable(table, {__index = fallback})
  end
  return raw_setmetatable(front, {__index = table, __newindex = read_only})
end

local base = {}

base.assert, base.error, base.gcinfo, base.ipairs = assert, error, gcinfo, ipairs
base.rawequal, base.select, base.tonumber, base.tostring = rawequal, select, tonumber, tostring
base.type, base._VERSION = type, _VERSION

local function pcall_result(done, ...)
  if done then
    return true, ...
  end
  return false, caught_by_pcall((...))
end

function base.pcall(...)
  if (...) == nil and select('#', ...) == 0 then
    -- Valkey's calls the place that it keeps for its result.
    return false, 'attempt to call a boolean value'
  end
  return pcall_result(pcall(...))
end

local function result(done, ...)
  if done then
    return true, ...
  end
  return false, caught((...))
end

function base.xpcall(...)
  if select('#', ...) < 2 then
    return argument_error(2, 'value expected')
  end
  local f, handler = ...
  if type(handler) ~= 'function' then
    return result(xpcall(f, handler))
  end
  return result(xpcall(f, function(e)
    if stopped(e) then
      return nil
    end
    return handler(caught(e))
  end))
end

function base.next(...)
  local t, k = ...
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  return next(real[t] or t, k)
end

local function next_protected(t, k)
  return next(real[t], k)
end

function base.pairs(...)
  local t = ...
  if real[t] then
    return next_protected, t, nil
  end
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  return next, t, nil
end

function base.rawget(...)
  local t, k = ...
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  if select('#', ...) < 2 then
    return argument_error(2, 'value expected')
  end
  return raw_rawget(real[t] or t, k)
end

function base.rawset(...)
  local t, k, v = ...
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  local count = select('#', ...)
  if count < 3 then
    return argument_error(count + 1, 'value expected')
  end
  if real[t] then
    return plain_error()
  end
  return raw_rawset(t, k, v)
end

function base.getmetatable(...)
  if select('#', ...) == 0 then
    return argument_error(1, 'value expected')
  end
  local t = ...
  if real[t] then
    return shown[t]
  end
  return raw_getmetatable(t)
end

function base.setmetatable(...)
  local t, mt = ...
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  if type(mt) ~= 'table' and (mt ~= nil or select('#', ...) < 2) then
    return argument_error(2, 'nil or table expected')
  end
  if real[t] then
    return plain_error()
  end
  if raw_getmetatable(t) ~= nil and not pcall(raw_setmetatable, t, mt) then
    return error_at('cannot change a protected metatable')
  end
  return raw_setmetatable(t, mt)
end

-- Results of unpack that fit the references of mlua, of which a call of Rust takes one for each argument
-- that is no number, and those that fit Lua's C stack beside the arguments of unpack itself.
local UNPACK_MAX, UNPACK_NUMBERS_MAX = 7900, 8000

local function has_numbers_only(t, first, last)
  for index = first, last do
    if type(raw_rawget(t, index)) ~= 'number' then
      return false
    end
  end
  return true
end

function base.unpack(...)
  local t, i, j = ...
  if type(t) ~= 'table' then
    return type_error(1, 'table', ...)
  end
  local count = select('#', ...)
  if count == 1 and (#t < UNPACK_MAX - 1 or #t < UNPACK_NUMBERS_MAX and has_numbers_only(t, 1, #t)) then
    return raw_unpack(t)
  end
  local first, last = rust.integer(2, 1, ...), rust.integer(3, #t, ...)
  if first > last then
    return
  end
  if last - first >= UNPACK_MAX - count then
    return error_at('too many results to unpack')
  end
  return raw_unpack(t, first, last)
end

function base.loadstring(...)
  local s, name = rust.string(1, ...), rust.optional_string(2, ...)
  return compile(s, name or s)
end

function base.load(...)
  local name = rust.optional_string(2, ...)
  local f = ...
  if type(f) ~= 'function' then
    return type_error(1, 'function', ...)
  end
  local pieces, count = {}, 0
  while true do
    local done, piece = pcall(f)
    if not done then
      return nil, caught(piece)
    end
    if piece == nil or piece == '' then
      break
    end
    local kind = type(piece)
    if kind ~= 'string' and kind ~= 'number' then
      return nil, rust.placed('reader function must return a string')
    end
    count = count + 1
    pieces[count] = piece
  end
  return compile(rust.concat(pieces), name or '=(load)')
end

function base.collectgarbage(...)
  local option, argument = rust.collector_option(...)
  return raw_collectgarbage(option, argument)
end

-- A coroutine counts its instructions from 0, so that a script of many short ones would never
-- reach the interrupt. Resumptions count as well.
local resumptions = 0
local RESUMPTIONS_PER_INTERRUPT = 100

local function count_resumption()
  resumptions = resumptions + 1
  if resumptions >= RESUMPTIONS_PER_INTERRUPT then
    resumptions = 0
    interrupt()
  end
end

local coroutines = {
  create = coroutine.create, running = coroutine.running, status = coroutine.status,
  yield = coroutine.yield,
}

function coroutines.resume(co, ...)
  if type(co) ~= 'thread' then
    return argument_error(1, 'coroutine expected')
  end
  count_resumption()
  return result(raw_resume(co, ...))
end

local function wrapped(done, ...)
  if done then
    return ...
  end
  return rethrow((...))
end

function coroutines.wrap(f)
  local done, co = pcall(raw_create, f)
  if not done then
    if type(f) == 'function' and rust.is_lua(f) then
      return rust.raise_plain(co)
    end
    return argument_error(1, 'Lua function expected')
  end
  return function(...)
    count_resumption()
    return wrapped(raw_resume(co, ...))
  end
end

local strings = rust.string_library
for name, f in next, string do
  if strings[name] == nil then
    strings[name] = f
  end
end
local maths = rust.math_library
for name, f in next, math do
  if maths[name] == nil then
    maths[name] = f
  end
end

base.string, base.table, base.math = protect(strings), protect(rust.table_library), protect(maths)
base.coroutine, base.os = protect(coroutines), protect({clock = os.clock})
base.cjson, base.cmsgpack = protect(rust.cjson), protect(rust.cmsgpack)
base.struct, base.bit = protect(rust.struct), protect(rust.bit)

-- Strings find their methods in the library itself; their metatable is shown read-only.
local string_metatable = raw_getmetatable('')
string_metatable.__index = strings
string_metatable.__metatable = protect({__index = base.string})

local function copy(table)
  local new = {}
  for key, value in next, table do
    new[key] = value
  end
  return new
end

-- Globals with their read-only front, and the functions that scripts find in the metatable.
local function globals(api)
  local all = copy(base)
  all.redis = protect(api)
  all.server = all.redis
  all._G = protect(all, rust.undefined)
  shown[all._G] = protect({__index = rust.undefined, __newindex = read_only})
  return all
end

local eval = globals(rust.eval_api)
eval.__redis__err__handler, eval.__server__err__handler = rust.error_handler, rust.error_handler
local functions = globals(rust.function_api)
local load_api = protect(rust.load_api, rust.undefined)
local load = {redis = load_api, server = load_api}
raw_setmetatable(load, {__index = rust.undefined})

-- The environment of functions changes what it shows while a library loads.
local switch = {__index = functions, __newindex = read_only}
local function_environment = raw_setmetatable({}, switch)
real[function_environment] = functions

-- Keys and values of a table in turn, and their number.
local function flatten(t)
  local list, count = {}, 0
  for key, value in next, t do
    list[count + 1], list[count + 2] = key, value
    count = count + 2
  end
  return list, count
end

-- For JSON: the largest index of an array, as a C int, and the number of its elements; or keys and
-- values of what is none.
local function json_shape(t)
  local max, items = 0, 0
  for key in next, t do
    if type(key) ~= 'number' or key < 1 or key % 1 ~= 0 then
      return flatten(t)
    end
    if key > max then
      max = key >= 2147483648 and -2147483648 or key
    end
    items = items + 1
  end
  return max, items
end

-- For MessagePack: the length of an array without holes, or keys and values of what is none.
local function pack_shape(t)
  local max, items = 0, 0
  for key in next, t do
    if type(key) ~= 'number' or key <= 0 or key > 2147483647 or key % 1 ~= 0 then
      return flatten(t)
    end
    if key > max then
      max = key
    end
    items = items + 1
  end
  if max ~= items then
    return flatten(t)
  end
  return max, items
end

return {
  real = real, eval = eval, eval_environment = eval._G, functions = functions, load = load,
  switch = switch, function_environment = function_environment,
  index = function(t, k) return t[k] end, flatten = flatten, json_shape = json_shape,
  pack_shape = pack_shape,
}
