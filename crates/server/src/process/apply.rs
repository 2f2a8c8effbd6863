//! Parameters that take effect at run time.

use engine::config::P;

use super::listen::{rebind, start_handshakes};
use super::log_options::fsync_policy;
use crate::os;
use crate::server::Server;

/// Puts the new value of a parameter into effect. CONFIG SET has stored it before.
pub(crate) fn apply_parameter(server: &Server, id: P) -> Result<(), String> {
    match id {
        P::AppendOnly => {
            crate::jobs::rewrite::switch(server, server.engine.config.bool(P::AppendOnly))?
        }
        P::AofRewriteIncrementalFsync => {
            let on = server.engine.config.bool(P::AofRewriteIncrementalFsync);
            server.engine.log.set_incremental_fsync(on);
        }
        P::AofDisableAutoGc => {
            let keeps = server.engine.config.bool(P::AofDisableAutoGc);
            server.engine.log.set_auto_gc(!keeps);
        }
        P::AofHistorySeconds => {
            let seconds = server.engine.config.int(P::AofHistorySeconds).max(0) as u64;
            server.engine.log.set_history(seconds);
        }
        P::AppendFsync => server
            .engine
            .log
            .set_policy(fsync_policy(&server.engine.config)),
        P::AofTimestampEnabled => {
            let on = server.engine.config.bool(P::AofTimestampEnabled);
            server.engine.log.set_timestamps(on);
        }
        P::LogLevel | P::LogFormat | P::LogTimestampFormat => {
            crate::observe::logging::update(&server.engine.config);
        }
        P::ReplBacklogSize => {
            let size = server.engine.config.int(P::ReplBacklogSize).max(0) as u64;
            server.engine.log.resize_stream(size);
        }
        P::AuditLog => crate::observe::audit::open(&server.engine)?,
        P::Maxclients => {
            let asked = server.engine.config.int(P::Maxclients).max(1) as u64;
            if os::raise_open_files(asked)? < asked {
                return Err(format!(
                    "The operating system is not able to handle the specified number of clients, try with {}",
                    os::raise_open_files(asked)?
                ));
            }
        }
        P::Port => {
            rebind(server)
                .map_err(|_| "Unable to listen on this port. Check server logs.".to_owned())?;
            os::update_title(&server.engine.config);
        }
        P::TlsPort => {
            configure_tls(server)?;
            rebind(server)
                .map_err(|_| "Unable to listen on this port. Check server logs.".to_owned())?;
            os::update_title(&server.engine.config);
        }
        id if id.name().starts_with("tls-") => configure_tls(server)?,
        P::Bind => {
            rebind(server).map_err(|_| "Failed to bind to specified addresses.".to_owned())?;
            os::update_title(&server.engine.config);
        }
        P::CrashLogEnabled => {
            os::crash::set_enabled(server.engine.config.bool(P::CrashLogEnabled));
        }
        P::ProcTitleTemplate => os::update_title(&server.engine.config),
        P::OomScoreAdj | P::OomScoreAdjValues => os::apply_oom_score(&server.engine.config)?,
        _ => {}
    }
    server.engine.refresh_switches();
    Ok(())
}

/// Makes new settings of the `tls-...` parameters; the old ones stay in force when that fails.
fn configure_tls(server: &Server) -> Result<(), String> {
    let failed = || "Unable to update TLS configuration. Check server logs.".to_owned();
    server
        .tls
        .configure(&server.engine.config)
        .map_err(|reason| {
            log::warn!("{reason}");
            failed()
        })?;
    let server = server.me.upgrade().ok_or_else(failed)?;
    start_handshakes(&server).map_err(|error| os::os_text(&error))
}
