//! Which shards a script locks before it runs.
//!
//! A script whose keys are proved to be declared locks their shards. Any other script takes the
//! extension right first, and locks further shards when it touches them; see `keyspace::locks`.

use resp::Args;
use script::profile::Profile;

use super::super::locking::NotLocked;
use super::super::{Call, Execution};
use super::callee::Target;
use crate::command::Callee;
use crate::config::{P, UndeclaredKeys};
use crate::engine::Engine;
use crate::shard_tables::Locked;

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
        Some(Target::Script(script)) => *script.profile.get_or_init(|| Profile::Undeclared),
        // A script that is new to the cache is looked at when it runs again.
        Some(Target::Function(_)) | None => Profile::Undeclared,
    }
}

/// Locks what a script needs to begin with.
pub(in crate::execute) fn lock_script<'k>(
    execution: &mut Execution<'_, 'k>,
    call: Call<'_>,
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
