//! Runs the commands of a request as a client of the server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use resp::request::encode;

use super::json::{Page, ReadError, read_reply};
use super::link::Link;
use super::request::{Asked, refusal};
use crate::http::access::Login;
use crate::http::routes::{Ends, Refused};
use crate::server::Server;

/// Runs commands as a user, or as the default user where that needs no password.
///
/// # Errors
/// The login is refused; the server takes no more clients; the replies are too large.
pub(super) async fn run(
    server: &Arc<Server>,
    ends: Ends,
    login: Option<Login>,
    asked: &Asked,
) -> Result<String, Refused> {
    let mut link = Link::open(server, ends).map_err(|error| broken(&error))?;
    log_in(server, &mut link, login).await?;
    let mut page = Page::default();
    let mut requests = Vec::new();
    // A user need not have the right to SELECT for the database that everyone begins with.
    let selects = asked.db != 0;
    if selects {
        let db = asked.db.to_string();
        encode(&mut requests, &[b"SELECT", db.as_bytes()]);
    }
    let mut refused = Vec::with_capacity(asked.commands.len());
    for command in &asked.commands {
        let refusal = refusal(&server.engine, asked, command);
        if refusal.is_none() {
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            encode(&mut requests, &words);
        }
        refused.push(refusal);
    }
    link.send(&requests).await.map_err(|error| broken(&error))?;
    let mut selected = Page::default();
    if selects {
        read_reply(&mut link, &mut selected).await.map_err(failed)?;
    }
    let wrong_db = error_of(&selected);
    for (place, refusal) in refused.iter().enumerate() {
        page.separate(place > 0);
        match refusal {
            Some(reason) => page.error(reason.as_bytes()),
            None => read_reply(&mut link, &mut page).await.map_err(failed)?,
        }
    }
    if let Some(reason) = wrong_db {
        return Err(Refused::new(StatusCode::BAD_REQUEST, reason));
    }
    Ok(format!("{{\"replies\":[{}]}}", page.text()))
}

async fn log_in(server: &Server, link: &mut Link, login: Option<Login>) -> Result<(), Refused> {
    let mut hello = Vec::new();
    match &login {
        Some((name, password)) => encode(&mut hello, &[b"HELLO", b"3", b"AUTH", name, password]),
        None => encode(&mut hello, &[b"HELLO", b"3"]),
    }
    match link.send(&hello).await {
        Ok(()) => {}
        // A connection that the server has refused is closed already; the reason can be read.
        Err(error) if is_closed(&error) => {}
        Err(error) => return Err(broken(&error)),
    }
    let mut page = Page::default();
    read_reply(link, &mut page).await.map_err(failed)?;
    let Some(error) = error_of(&page) else {
        return Ok(());
    };
    if error.starts_with("WRONGPASS") || error.starts_with("NOAUTH") {
        if login.is_some() {
            let failures = &server.http.failed_logins;
            failures.fetch_add(1, Ordering::Relaxed);
        }
        let reason = match login {
            Some(_) => "Wrong user or password, or the user is disabled",
            None => "A user and a password are needed",
        };
        return Err(Refused::new(StatusCode::UNAUTHORIZED, reason));
    }
    Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, error))
}

/// The text of a reply that is an error.
fn error_of(page: &Page) -> Option<String> {
    let error = page.text().strip_prefix("{\"error\":\"")?;
    Some(error.trim_end_matches("\"}").to_owned())
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

fn broken(error: &io::Error) -> Refused {
    let reason = format!("The connection to the server ended: {}", error.kind());
    Refused::new(StatusCode::BAD_GATEWAY, reason)
}

fn failed(error: ReadError) -> Refused {
    match error {
        ReadError::Io(error) => broken(&error),
        ReadError::TooLarge => {
            let reason = "The replies are too large for the console";
            Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
        }
        ReadError::Malformed => Refused::new(StatusCode::BAD_GATEWAY, "A reply could not be read"),
    }
}
