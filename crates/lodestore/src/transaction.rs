//! Commands that run as one.

use resp::OwnedArgs;

/// The commands of a transaction, see [`crate::Client::transaction`].
#[derive(Default)]
pub struct Transaction {
    commands: Vec<OwnedArgs>,
}

impl Transaction {
    /// Adds a command, its name first.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> &mut Self {
        let mut command = OwnedArgs::new();
        for arg in args {
            command.push(arg.as_ref());
        }
        self.commands.push(command);
        self
    }

    pub(crate) fn commands(&self) -> &[OwnedArgs] {
        &self.commands
    }
}
