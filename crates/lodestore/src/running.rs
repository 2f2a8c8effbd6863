//! The server behind the handles of a store.

use std::sync::{Arc, Mutex, PoisonError};

use server::{Instance, Server};

/// A server in this process, until the last handle is gone.
pub(crate) struct Running {
    server: Arc<Server>,
    instance: Mutex<Option<Instance>>,
}

impl Running {
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            server: Arc::clone(instance.server()),
            instance: Mutex::new(Some(instance)),
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Closes the store once. False when something could not be written.
    pub(crate) fn close(&self) -> bool {
        let mut instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(instance) = instance.take() else {
            return true;
        };
        let is_saved = server::close(&self.server);
        instance.wait() == 0 && is_saved
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The reason of a failure is in the log.
        self.close();
    }
}
