//! Scripts and functions.

use super::{Field, Row, Scenario};
use crate::process::Setup;
use crate::report::Section;
use crate::workload::{Operation, Workload};

/// Functions of the rows, loaded once.
const LIBRARY: &str = "FUNCTION LOAD #!lua␣name=bench
server.register_function('bump',function(keys)␣return␣server.call('incr',keys[1])␣end)";

/// One call of INCR on the declared key.
const INCR: &str = "EVAL return␣redis.call('incr',KEYS[1]) 1 cnt:#";

/// Ten calls on the declared key, in a loop.
const TEN: &str = "EVAL for␣i=1,10␣do␣redis.call('incr',KEYS[1])␣end 1 cnt:#";

/// A lock that only its owner releases, as published for Redis: here the value differs.
const LOCK: &str = "EVAL if␣redis.call('get',KEYS[1])==ARGV[1]␣then␣return␣redis.call('del',KEYS[1])␣else␣return␣0␣end 1 lock:# token";

/// A token bucket: a hash with what is left and when it was filled, with a TTL.
const BUCKET: &str = "EVAL local␣rate,cap,now=tonumber(ARGV[1]),tonumber(ARGV[2]),tonumber(ARGV[3])
local␣b=redis.call('hmget',KEYS[1],'tokens','at')
local␣tokens,at=tonumber(b[1])␣or␣cap,tonumber(b[2])␣or␣now
tokens=math.min(cap,tokens+math.max(0,now-at)*rate)
local␣allowed=tokens>=1
if␣allowed␣then␣tokens=tokens-1␣end
redis.call('hset',KEYS[1],'tokens',tokens,'at',now)
redis.call('expire',KEYS[1],60)
return␣{allowed␣and␣1␣or␣0,tostring(tokens)} 1 bucket:# 5 10 @";

/// Work of Lua alone: tables, strings and numbers.
const PURE: &str = "EVAL local␣t={}
for␣i=1,200␣do␣t[i]=(i*7919)%211␣end
table.sort(t)
local␣s={}
for␣i,v␣in␣ipairs(t)␣do␣s[#s+1]=string.format('%d:%s',v,string.rep('x',v%5))␣end
local␣n=0
for␣w␣in␣string.gmatch(table.concat(s,','),'%d+')␣do␣n=n+tonumber(w)␣end
return␣n 0";

pub(super) fn all(field: &Field) -> Scenario {
    let lines: [(&str, &str, &str, u64, usize); 8] = [
        ("eval-incr-p16", "EVAL of INCR", INCR, 100_000, 16),
        ("eval-incr-p64", "EVAL of INCR", INCR, 100_000, 64),
        ("eval-incr", "EVAL of INCR", INCR, 100_000, 1),
        ("eval-ten", "EVAL of 10 INCR", TEN, 100_000, 16),
        (
            "fcall-incr",
            "FCALL of INCR",
            "FCALL bump 1 cnt:#",
            100_000,
            16,
        ),
        ("lock", "EVAL of a lock's release", LOCK, 100_000, 16),
        ("bucket", "EVAL of a token bucket", BUCKET, 100_000, 16),
        ("pure", "EVAL of Lua without commands", PURE, 1, 1),
    ];
    let rows = lines.map(|(id, title, command, keys, pipeline)| Row {
        section: Section::Scripts,
        id: format!("{}-{id}", Section::Scripts.name()),
        title: super::titled(title, pipeline),
        workload: Workload {
            operation: Operation::Command(command),
            connections: 50,
            pipeline,
            keys,
            value_len: 32,
            first: &[],
        },
        quick: true,
    });
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys: 0,
        value_len: 0,
        prepare: &[LIBRARY],
        fill: &[],
        pinned: true,
        rows: rows.into(),
    }
}
