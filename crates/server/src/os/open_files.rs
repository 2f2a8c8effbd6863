//! The limit of open files, which bounds `maxclients`.

use super::{os_text, sys};

/// File descriptors the server needs besides those of clients: listeners, event loops, the log,
/// snapshots.
const RESERVED_FILES: u64 = 32;

/// Raises the limit of open files to what `max_clients` clients need. The answer is how many
/// clients there can be, fewer than asked when the system does not allow that many files; an error
/// is a limit too low for any.
pub(crate) fn raise_open_files(max_clients: u64) -> Result<u64, String> {
    let wanted = max_clients.saturating_add(RESERVED_FILES);
    let limit = match sys::open_files() {
        Ok(limit) => limit,
        Err(error) => {
            log::warn!(
                "Unable to obtain the current NOFILE limit ({}), assuming 1024 and setting the max clients \
                 configuration accordingly.",
                os_text(&error)
            );
            return Ok(max_clients.min(1024 - RESERVED_FILES));
        }
    };
    if limit.soft >= wanted {
        return Ok(max_clients);
    }
    let (reached, refusal) = raise_as_far_as_possible(limit, wanted);
    if reached >= wanted {
        log::info!(
            "Increased maximum number of open files to {wanted} (it was originally set to {}).",
            limit.soft
        );
        return Ok(max_clients);
    }
    if reached <= RESERVED_FILES {
        return Err(format!(
            "Your current 'ulimit -n' of {} is not enough for the server to start. Please increase your open file \
             limit to at least {wanted}. Exiting.",
            limit.soft
        ));
    }
    let clients = reached - RESERVED_FILES;
    log::warn!(
        "You requested maxclients of {max_clients} requiring at least {wanted} max file descriptors."
    );
    log::warn!("Server can't set maximum open files to {wanted} because of OS error: {refusal}.");
    log::warn!(
        "Current maximum open files is {reached}. maxclients has been reduced to {clients} to compensate for low \
         ulimit. If you need higher maxclients increase 'ulimit -n'."
    );
    Ok(clients)
}

/// First with the hard limit raised too, which only root may, then up to the hard limit.
fn raise_as_far_as_possible(limit: sys::OpenFiles, wanted: u64) -> (u64, String) {
    let Err(refusal) = sys::set_open_files(sys::OpenFiles {
        soft: wanted,
        hard: wanted.max(limit.hard),
    }) else {
        return (wanted, String::new());
    };
    let most = wanted.min(limit.hard);
    let reached = match sys::set_open_files(sys::OpenFiles {
        soft: most,
        hard: limit.hard,
    }) {
        Ok(()) => most,
        Err(_) => limit.soft,
    };
    (reached.max(limit.soft), os_text(&refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_within_the_limit_change_nothing() {
        assert_eq!(raise_open_files(1), Ok(1));
        let clients = raise_open_files(1 << 40).unwrap();
        assert!(clients > 0);
    }
}
