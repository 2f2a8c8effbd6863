//! Processor time of runs on one thread, on Linux:
//! `cargo run --release -p lodestore-script --example script_bench`.

use resp::{Args, Output, OwnedArgs, Protocol, Reply};
use script::{
    AclVerdict, Arguments, Host, Identity, Limits, LogLevel, Replication, Script, Stop, Vm,
};

/// A host whose commands all reply with an integer.
struct Counter(i64);

impl Host for Counter {
    fn call(&mut self, _: Args<'_>, protocol: Protocol, reply: &mut Output) {
        self.0 += 1;
        Reply::new(reply, protocol).integer(self.0);
    }

    fn set_replication(&mut self, _: Replication) {}

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn acl_check(&mut self, _: &[&[u8]]) -> AclVerdict {
        AclVerdict::Allowed
    }

    fn interrupt(&mut self) -> Option<Stop> {
        None
    }
}

const SCRIPTS: [(&str, u32, &str); 9] = [
    ("empty", 300_000, "return 1"),
    ("incr", 300_000, "return redis.call('incr', KEYS[1])"),
    (
        "ten calls",
        50_000,
        "for i = 1, 10 do redis.call('set', KEYS[1], ARGV[1]) end",
    ),
    (
        "arithmetic, 1000 rounds",
        10_000,
        "local x = 0 for i = 1, 1000 do x = x + i % 7 end return x",
    ),
    (
        "string.format, 100 rounds",
        10_000,
        "local t = {} for i = 1, 100 do t[i] = string.format('%d:%s', i, 'x') end return #t",
    ),
    (
        "table.insert, 100 rounds",
        10_000,
        "local t = {} for i = 1, 100 do table.insert(t, i) end return #t",
    ),
    (
        "gsub and find, 100 rounds",
        3_000,
        "for i = 1, 100 do ('key:' .. i):gsub('%d+', 'x'); ('a=b'):find('(%w+)=(%w+)') end",
    ),
    (
        "cjson both ways",
        20_000,
        "return cjson.encode(cjson.decode('{\"a\":[1,2,3],\"b\":\"text\",\"c\":{\"d\":true}}'))",
    ),
    (
        "unpack 100",
        20_000,
        "local t = {} for i = 1, 100 do t[i] = 'v' end return redis.call('sadd', KEYS[1], unpack(t))",
    ),
];

fn main() -> anyhow::Result<()> {
    for memory in [0, 64 << 20] {
        println!("memory limit {memory}");
        let mut vm = Vm::new(Limits {
            memory,
            identity: Identity {
                server_name: "lodestore".to_owned(),
                redis_version: "7.2.4".to_owned(),
                valkey_version: "9.1.2".to_owned(),
            },
        })?;
        for (index, (name, count, code)) in SCRIPTS.iter().enumerate() {
            let nanoseconds = time(&mut vm, index as u8, *count, code.as_bytes());
            println!("{name:30} {nanoseconds:10} ns");
        }
        println!("heap {} KB", vm.memory() / 1024);
    }
    Ok(())
}

/// Nanoseconds of a run.
fn time(vm: &mut Vm, index: u8, count: u32, code: &[u8]) -> u64 {
    let mut host = Counter(0);
    let mut out = Output::default();
    let sha = [index; 40];
    let keys = OwnedArgs::from_slices(&[b"key:1"]);
    let args = OwnedArgs::from_slices(&[b"value"]);
    let start = processor_time();
    for _ in 0..count {
        out.clear();
        let arguments = Arguments {
            keys: keys.as_args(),
            args: args.as_args(),
        };
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let script = Script { sha: &sha, code };
        if let Err(failure) = vm.run(script, arguments, &mut host, &mut reply) {
            eprintln!("{}", String::from_utf8_lossy(&failure.message));
            break;
        }
    }
    (processor_time() - start) / u64::from(count)
}

/// Nanoseconds that this thread has run, which other programs on the machine do not change.
fn processor_time() -> u64 {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = times.split_ascii_whitespace().next();
    first.and_then(|time| time.parse().ok()).unwrap_or(0)
}
