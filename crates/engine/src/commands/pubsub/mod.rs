//! Publish/subscribe. Registry and delivery stand in [`crate::pubsub`].

mod inspect;
mod publish;
mod subscribe;

use crate::execute::CommandSpec;

/// The commands of this group.
pub const COMMANDS: &[&CommandSpec] = &[
    &subscribe::PSUBSCRIBE,
    &publish::PUBLISH,
    &inspect::PUBSUB,
    &subscribe::PUNSUBSCRIBE,
    &publish::SPUBLISH,
    &subscribe::SSUBSCRIBE,
    &subscribe::SUBSCRIBE,
    &subscribe::SUNSUBSCRIBE,
    &subscribe::UNSUBSCRIBE,
];
