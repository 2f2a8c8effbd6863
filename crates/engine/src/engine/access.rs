//! Changes of users, and the clients that they concern.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Engine;
use crate::client::ClientShared;
use crate::config::{AclPubsubDefault, P};
use crate::pubsub::Kind;
use crate::users::{DEFAULT_USER, Defaults, FileUsers, Rules, RulesError};

/// Clients that have lost their user or a channel and are to be closed.
pub(super) type Lost = Vec<Arc<ClientShared>>;

impl Engine {
    /// What new users and selectors have that no rule gave them.
    pub fn acl_defaults(&self) -> Defaults {
        let all_channels = self.config.choice::<AclPubsubDefault>(P::AclPubsubDefault)
            == AclPubsubDefault::AllChannels;
        Defaults { all_channels }
    }

    /// ACL SETUSER: all rules, or none of them. The clients that are returned have subscriptions
    /// that the user has no right to any more.
    ///
    /// # Errors
    /// The first rule that is wrong.
    pub fn set_user(&self, name: &[u8], rules: &[&[u8]]) -> Result<Lost, RulesError> {
        let defaults = self.acl_defaults();
        let _changing = self.users.lock_changes();
        let before = self.users.get(name).map(|user| user.rules());
        let mut after = match &before {
            Some(before) => Rules::clone(before),
            None => Rules::new(defaults),
        };
        after.apply_all(&self.commands, defaults, rules)?;
        let loses = before.is_some_and(|before| !after.keeps_channels_of(&before));
        self.users.put(name, after);
        self.note_rights_changed();
        Ok(match loses {
            true => self.clients_beyond_channels(|user| user == name),
            false => Lost::new(),
        })
    }

    /// ACL DELUSER for one user. Returns the clients of the user, or nothing when there is none of
    /// this name.
    pub fn delete_user(&self, name: &[u8]) -> Option<Lost> {
        let _changing = self.users.lock_changes();
        if !self.users.remove(name) {
            return None;
        }
        self.note_rights_changed();
        let mut clients = self.clients.all();
        clients.retain(|client| client.lock_details().user == name);
        Some(clients)
    }

    /// ACL LOAD: the users of a file take the place of all users. A default user that the file does
    /// not have may do everything.
    pub fn replace_users(&self, users: FileUsers) -> Lost {
        let _changing = self.users.lock_changes();
        let before = self.users.all();
        let has_default = users
            .iter()
            .any(|(name, _)| name == DEFAULT_USER.as_bytes());
        if !has_default {
            self.users
                .put(DEFAULT_USER.as_bytes(), Rules::unrestricted());
        }
        let mut gone: Vec<Vec<u8>> = before.iter().map(|user| user.name().to_vec()).collect();
        gone.retain(|name| {
            name != DEFAULT_USER.as_bytes() && users.iter().all(|(kept, _)| kept != name)
        });
        for name in &gone {
            self.users.remove(name);
        }
        for (name, rules) in users {
            self.users.put(&name, rules);
        }
        self.note_rights_changed();
        let mut lost = self.clients_beyond_channels(|_| true);
        let mut clients = self.clients.all();
        clients.retain(|client| gone.contains(&client.lock_details().user));
        lost.extend(clients);
        lost
    }

    /// Commands that were admitted before are checked again under their locks.
    fn note_rights_changed(&self) {
        self.admission_epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Clients of these users with a subscription that they have no right to.
    fn clients_beyond_channels(&self, concerns: impl Fn(&[u8]) -> bool) -> Lost {
        self.pubsub.clients_without(|kind, name, client| {
            let user = client.lock_details().user.clone();
            !concerns(&user)
                || self
                    .users
                    .get(&user)
                    .is_none_or(|user| user.rules().allows_channel(name, kind == Kind::Pattern))
        })
    }
}
