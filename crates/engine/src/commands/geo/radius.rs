//! The older searches: GEORADIUS, GEORADIUSBYMEMBER and the forms of them that only read.

use resp::Args;

use super::arguments;
use super::request::Form;
use super::search::search;
use crate::command::KeyPosition;
use crate::command::*;
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec};

const COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.";

const fn stores_after(keyword: &'static str, start: i32) -> KeySpec {
    KeySpec {
        flags: KeyFlags::OW
            .or(KeyFlags::UPDATE)
            .or(KeyFlags::VARIABLE_FLAGS),
        begin: BeginSearch::Keyword { keyword, start },
        find: FindKeys::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
    }
}

/// The source and the destination: the last one, as in Redis.
fn find_keys(args: Args<'_>) -> KeyPositions {
    let mut found = KeyPositions::new();
    if args.len() > 1 {
        found.push(KeyPosition {
            index: 1,
            flags: KeyFlags::RO.or(KeyFlags::ACCESS).0,
        });
    }
    let mut destination = None;
    let mut index = 5;
    while index + 1 < args.len() {
        let word = args.arg(index);
        if word.eq_ignore_ascii_case(b"store") || word.eq_ignore_ascii_case(b"storedist") {
            index += 1;
            destination = Some(index);
        }
        index += 1;
    }
    if let Some(index) = destination {
        found.push(KeyPosition {
            index,
            flags: KeyFlags::OW.or(KeyFlags::UPDATE).0,
        });
    }
    found
}

pub(super) const GEORADIUS: CommandSpec = CommandSpec::new("georadius", -6, georadius)
    .group(Group::Geo)
    .since("3.2.0")
    .flags(Flags::WRITE.or(Flags::DENYOOM))
    .summary("Returns or stores the members within a distance of a point.")
    .complexity(COMPLEXITY)
    .keys(&[
        KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS)),
        stores_after("STORE", 6),
        stores_after("STOREDIST", 6),
    ])
    .find_keys(find_keys)
    .args(&[
        Arg::KEY,
        arguments::LONGITUDE,
        arguments::LATITUDE,
        arguments::RADIUS,
        arguments::UNIT,
        arguments::WITHCOORD,
        arguments::WITHDIST,
        arguments::WITHHASH,
        arguments::COUNT_ANY_LATER,
        Arg::ORDER,
        arguments::STORE,
    ]);

fn georadius(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::Radius, true)
}

pub(super) const GEORADIUS_RO: CommandSpec = CommandSpec::new("georadius_ro", -6, georadius_ro)
    .group(Group::Geo)
    .since("3.2.10")
    .flags(Flags::READONLY)
    .summary("Returns the members within a distance of a point.")
    .complexity(COMPLEXITY)
    .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
    .args(&[
        Arg::KEY,
        arguments::LONGITUDE,
        arguments::LATITUDE,
        arguments::RADIUS,
        arguments::UNIT,
        arguments::WITHCOORD,
        arguments::WITHDIST,
        arguments::WITHHASH,
        arguments::COUNT_ANY_LATER,
        Arg::ORDER,
    ]);

fn georadius_ro(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::Radius, false)
}

pub(super) const GEORADIUSBYMEMBER: CommandSpec =
    CommandSpec::new("georadiusbymember", -5, georadiusbymember)
        .group(Group::Geo)
        .since("3.2.0")
        .flags(Flags::WRITE.or(Flags::DENYOOM))
        .summary("Returns or stores the members within a distance of one of them.")
        .complexity(COMPLEXITY)
        .keys(&[
            KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS)),
            stores_after("STORE", 5),
            stores_after("STOREDIST", 5),
        ])
        .find_keys(find_keys)
        .args(&[
            Arg::KEY,
            Arg::MEMBER,
            arguments::RADIUS,
            arguments::UNIT,
            arguments::WITHCOORD,
            arguments::WITHDIST,
            arguments::WITHHASH,
            arguments::COUNT,
            Arg::ORDER,
            arguments::STORE,
        ]);

fn georadiusbymember(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::RadiusByMember, true)
}

pub(super) const GEORADIUSBYMEMBER_RO: CommandSpec =
    CommandSpec::new("georadiusbymember_ro", -5, georadiusbymember_ro)
        .group(Group::Geo)
        .since("3.2.10")
        .flags(Flags::READONLY)
        .summary("Returns the members within a distance of one of them.")
        .complexity(COMPLEXITY)
        .keys(&[KeySpec::one(1, KeyFlags::RO.or(KeyFlags::ACCESS))])
        .args(&[
            Arg::KEY,
            Arg::MEMBER,
            arguments::RADIUS,
            arguments::UNIT,
            arguments::WITHCOORD,
            arguments::WITHDIST,
            arguments::WITHHASH,
            arguments::COUNT,
            Arg::ORDER,
        ]);

fn georadiusbymember_ro(ctx: &mut Context<'_, '_>) -> CommandResult {
    search(ctx, Form::RadiusByMember, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use resp::OwnedArgs;

    #[test]
    fn the_last_destination_counts() {
        let indexes = |line: &str| -> Vec<usize> {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let args = OwnedArgs::from_slices(&words);
            let found = find_keys(args.as_args());
            found.iter().map(|key| key.index).collect()
        };
        assert_eq!(indexes("georadius k 1 2 3 km"), [1]);
        assert_eq!(
            indexes("georadius k 1 2 3 km store a asc storedist b"),
            [1, 10]
        );
        assert_eq!(indexes("georadiusbymember k m 3 km store store"), [1, 6]);
        assert_eq!(indexes("georadiusbymember k m 3 km store"), [1]);
    }
}
