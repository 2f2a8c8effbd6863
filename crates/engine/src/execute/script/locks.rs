//! Which shards a script locks before it runs.
//!
//! A script whose keys are proved to be declared locks their shards. Any other script takes the
//! extension right first, and locks further shards when it touches them; see `keyspace::locks`.

use resp::{Args, OwnedArgs};
use script::profile::{CommandKeys, KeyPositions, Profile, library_profile, profile as profile_of};

use super::super::locking::NotLocked;
use super::super::{Call, Execution};
use super::callee::Target;
use crate::command::{BeginSearch, Callee, FindKeys, KeyFlags, KeySpec, Locks};
use crate::config::{P, UndeclaredKeys};
use crate::engine::Engine;
use crate::shard_tables::Locked;
use crate::table::{CommandTable, Resolved, key_positions};

/// `script-undeclared-keys deny`
pub(super) fn denies_undeclared(engine: &Engine) -> bool {
    engine
        .config
        .choice::<UndeclaredKeys>(P::ScriptUndeclaredKeys)
        == UndeclaredKeys::Deny
}

/// What is known about the keys of a script before it runs.
fn profile(execution: &Execution<'_, '_>, target: Option<&Target>) -> Profile {
    if denies_undeclared(execution.engine) {
        return Profile::Proved;
    }
    match target {
        Some(Target::Script(script)) => *script
            .profile
            .get_or_init(|| profile_of(script.code(), &Positions(&execution.engine.commands))),
        Some(Target::Function(found)) => *found.library.profile.get_or_init(|| {
            library_profile(found.library.body(), &Positions(&execution.engine.commands))
        }),
        // A script that is new to the cache is looked at when it runs again.
        None => Profile::Undeclared,
    }
}

/// Locks what a script needs to begin with.
pub(in crate::execute) fn lock_script<'k>(
    execution: &mut Execution<'_, 'k>,
    call: &Call<'_>,
) -> Result<Locked<'k>, NotLocked> {
    let profile = profile(execution, execution.exec.target.as_ref());
    match profile {
        Profile::All => execution.lock_all(),
        Profile::Proved => execution.lock_keys(call),
        Profile::Undeclared => {
            execution.take_right()?;
            execution.lock_keys(call)
        }
    }
}

/// What is known about the keys of a script that a transaction has queued.
pub(in crate::execute) fn script_locks(
    execution: &mut Execution<'_, '_>,
    callee: Callee,
    args: Args<'_>,
) -> Profile {
    let target = execution.find_target(callee, args);
    profile(execution, target.as_ref())
}

/// The command table, for the proof about the keys of a script.
struct Positions<'a>(&'a CommandTable);

impl CommandKeys for Positions<'_> {
    fn positions(
        &self,
        name: &[u8],
        arguments: usize,
        literals: &[Option<Vec<u8>>],
    ) -> KeyPositions {
        let mut argv = OwnedArgs::new();
        argv.push(name);
        for index in 0..arguments {
            let literal = literals.get(index).and_then(Option::as_deref);
            argv.push(literal.unwrap_or_default());
        }
        let args = argv.as_args();
        let is_literal = |at: usize| matches!(literals.get(at.wrapping_sub(1)), Some(Some(_)));
        let Some(container) = self.0.lookup(name) else {
            return KeyPositions::Unknown;
        };
        if container.spec.is_container && !is_literal(1) {
            return KeyPositions::Unknown;
        }
        let Resolved::Command(command) = self.0.resolve(args) else {
            return KeyPositions::Unknown;
        };
        let spec = command.spec;
        match spec.locks {
            Locks::All | Locks::Own => return KeyPositions::All,
            Locks::Keys => {}
            Locks::Queued | Locks::Script(_) | Locks::ByArguments(_) => {
                return KeyPositions::Unknown;
            }
        }
        let is_told = |spec: &KeySpec| is_told(spec, &is_literal);
        if spec.find_keys.is_some() || !spec.keys.iter().all(is_told) {
            return KeyPositions::Unknown;
        }
        let keys = key_positions(spec, args);
        let keys = keys
            .iter()
            .filter(|key| key.flags & KeyFlags::NOT_KEY.0 == 0);
        KeyPositions::At(keys.map(|key| key.index).collect())
    }
}

/// Whether the places of keys follow from the number of arguments and from those that are literals.
fn is_told(spec: &KeySpec, is_literal: &impl Fn(usize) -> bool) -> bool {
    let BeginSearch::Index(begin) = spec.begin else {
        return false;
    };
    let begin = usize::try_from(begin).unwrap_or(0);
    let is_complete = !spec.flags.has(KeyFlags::INCOMPLETE);
    is_complete
        && match spec.find {
            FindKeys::Range { .. } => true,
            FindKeys::KeyNum { count, .. } => {
                is_literal(begin + usize::try_from(count).unwrap_or(0))
            }
            FindKeys::Unknown => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::command_table;

    #[test]
    fn places_of_keys_follow_from_counts_and_literals() {
        let (table, _) = command_table(crate::commands::GROUPS, &[]).expect("no renames");
        let positions = Positions(&table);
        let at = |name: &str, literals: &[Option<&str>]| {
            let literals: Vec<Option<Vec<u8>>> = literals
                .iter()
                .map(|literal| literal.map(|text| text.as_bytes().to_vec()))
                .collect();
            positions.positions(name.as_bytes(), literals.len(), &literals)
        };
        assert_eq!(at("GET", &[None]), KeyPositions::At(vec![1]));
        assert_eq!(at("mset", &[None; 4]), KeyPositions::At(vec![1, 3]));
        assert_eq!(at("ping", &[]), KeyPositions::At(vec![]));
        assert_eq!(at("dbsize", &[]), KeyPositions::All);
        assert_eq!(at("scan", &[None]), KeyPositions::All);
        assert_eq!(at("nosuch", &[]), KeyPositions::Unknown);
        assert_eq!(at("sort", &[None]), KeyPositions::Unknown);
        assert_eq!(at("zunion", &[None, None]), KeyPositions::Unknown);
        assert_eq!(
            at("zunion", &[Some("2"), None, None]),
            KeyPositions::At(vec![2, 3])
        );
        assert_eq!(
            at("object", &[Some("freq"), None]),
            KeyPositions::At(vec![2])
        );
        assert_eq!(at("object", &[None, None]), KeyPositions::Unknown);
    }
}
