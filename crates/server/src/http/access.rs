//! Where a request comes from, and who asks.
//!
//! A browser sends requests to any address that a page names. Two headers that pages cannot set
//! keep pages of others out: `Origin` says which page asks, and `Host` has the name under which the
//! server was reached, which is a foreign one after DNS rebinding.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64ct::{Base64, Encoding};
use engine::client::{ClientShared, Peer};
use engine::config::P;
use engine::execute::{log_denied, log_failed_login, log_login};
use engine::session::{Origin, Session};
use engine::users::{DEFAULT_USER, User, check};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, StatusCode};
use resp::OwnedArgs;

use super::routes::{Ends, Refused};
use crate::server::Server;
use crate::state::HTTP;

/// What ACL LOG shows as the object of a failed login.
const WAY: &[u8] = b"http";

/// The value of `http-hosts` for any name.
const ANY_HOST: &str = "*";

/// Refuses requests of pages of other servers, those under a name that is not this server's, and,
/// in protected mode, those of other machines.
pub(super) fn check_source<B>(
    server: &Server,
    ends: Ends,
    request: &Request<B>,
) -> Result<(), Refused> {
    let engine = &server.engine;
    let is_open = engine.users.default_user().is_open();
    if is_open && engine.config.bool(P::ProtectedMode) && !Peer::Tcp(ends.peer).is_local() {
        let reason = "Protected mode: without a password other machines are refused. Set one, \
                      or set protected-mode to no";
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    let host = single(request.headers(), &header::HOST)?.and_then(authority);
    let Some(host) = host else {
        let reason = "The Host header is missing or wrong";
        return Err(Refused::new(StatusCode::BAD_REQUEST, reason));
    };
    let names = engine.config.word_list(P::HttpHosts);
    let named = request.uri().authority().unwrap_or(&host);
    if !is_own_host(host.host(), &names) || !is_own_host(named.host(), &names) {
        let reason = "The Host header has a name that is not in http-hosts";
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    if let Some(origin) = single(request.headers(), &header::ORIGIN)?
        && !is_same_origin(origin, &host)
    {
        let reason = "Requests of pages of other servers are refused";
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    Ok(())
}

/// The value of a header that may come once.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Result<Option<&'a HeaderValue>, Refused> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.next() {
        None => Ok(value),
        Some(_) => {
            let reason = format!("The header {name} may come once");
            Err(Refused::new(StatusCode::BAD_REQUEST, reason))
        }
    }
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    let authority = Authority::from_str(value.to_str().ok()?).ok()?;
    // The part before an at sign is for links, not for hosts.
    (!authority.as_str().contains('@') && !authority.host().is_empty()).then_some(authority)
}

/// Addresses cannot be rebound, and `localhost` is not looked up elsewhere; other names have to be
/// among `names`.
fn is_own_host(host: &str, names: &[String]) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let is_address = IpAddr::from_str(bare.unwrap_or(host)).is_ok();
    is_address
        || host.eq_ignore_ascii_case("localhost")
        || names
            .iter()
            .any(|name| name == ANY_HOST || name.eq_ignore_ascii_case(host))
}

/// A page of this server. Behind a proxy that encrypts, its scheme is that of the proxy.
fn is_same_origin(origin: &HeaderValue, host: &Authority) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let (scheme, rest) = origin.split_once("://").unwrap_or_default();
    matches!(scheme, "http" | "https") && rest.eq_ignore_ascii_case(host.as_str())
}

/// Refuses a request whose user may not run INFO. A request without a user is that of the default
/// user, where that one needs no password.
pub(super) fn authorize<B>(
    server: &Arc<Server>,
    ends: Ends,
    request: &Request<B>,
) -> Result<(), Refused> {
    let engine = &server.engine;
    let user = match single(request.headers(), &header::AUTHORIZATION)? {
        Some(value) => log_in(server, ends, value)?,
        None if engine.users.default_user().is_open() => Arc::clone(engine.users.default_user()),
        None => {
            let reason = "A user and a password are needed";
            return Err(Refused::new(StatusCode::UNAUTHORIZED, reason));
        }
    };
    let Some(command) = engine.commands.lookup_original(b"info") else {
        let reason = "There is no command INFO";
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    };
    let args = OwnedArgs::from_slices(&[b"INFO"]);
    let databases = (0, engine.keyspace.databases());
    check(&user, command, args.as_args(), databases).map_err(|denied| {
        server.http.denied.fetch_add(1, Ordering::Relaxed);
        log_denied(engine, &session(server, ends, Some(user)), command, denied);
        Refused::new(StatusCode::FORBIDDEN, "The user may not run INFO")
    })
}

/// A user and a password.
pub(super) type Login = (Vec<u8>, Vec<u8>);

/// User and password of a request, `None` for one without.
pub(super) fn login(headers: &HeaderMap) -> Result<Option<Login>, Refused> {
    let Some(value) = single(headers, &header::AUTHORIZATION)? else {
        return Ok(None);
    };
    let (mut name, password) = credentials(value).ok_or_else(not_basic)?;
    if name.is_empty() {
        name = DEFAULT_USER.as_bytes().to_vec();
    }
    Ok(Some((name, password)))
}

fn not_basic() -> Refused {
    let reason = "The Authorization header has to be Basic, with a user and a password";
    Refused::new(StatusCode::BAD_REQUEST, reason)
}

/// The user of a Basic authorization. One without a name is the default user.
fn log_in(server: &Arc<Server>, ends: Ends, value: &HeaderValue) -> Result<Arc<User>, Refused> {
    let (name, password) = credentials(value).ok_or_else(not_basic)?;
    let name = match name.as_slice() {
        b"" => DEFAULT_USER.as_bytes(),
        name => name,
    };
    let engine = &server.engine;
    if let Some(user) = engine.users.authenticate(name, &password) {
        log_login(engine, &session(server, ends, None), name);
        return Ok(user);
    }
    server.http.failed_logins.fetch_add(1, Ordering::Relaxed);
    log_failed_login(engine, &session(server, ends, None), WAY, name);
    let reason = "Wrong user or password, or the user is disabled";
    Err(Refused::new(StatusCode::UNAUTHORIZED, reason))
}

/// User and password of a Basic authorization (RFC 7617).
fn credentials(value: &HeaderValue) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = Base64::decode_vec(text.trim()).ok()?;
    let colon = name.iter().position(|byte| *byte == b':')?;
    let password = name.split_off(colon + 1);
    name.truncate(colon);
    Some((name, password))
}

/// The client of a request, as ACL LOG and the audit log show it. It is in no list of clients.
fn session(server: &Server, ends: Ends, user: Option<Arc<User>>) -> Session {
    let engine = &server.engine;
    let id = engine.clients.next_id();
    let (peer, local) = (Peer::Tcp(ends.peer), Peer::Tcp(ends.local));
    let client = ClientShared::new(id, peer, &local, -1, engine.steady_ms(), HTTP);
    let mut session = Session::new(Arc::new(client), Origin::Client, None);
    session.set_user(user);
    session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_listed_names_are_own_hosts() {
        let names = vec!["Db.example".to_owned()];
        for host in ["127.0.0.1", "10.1.2.3", "[::1]", "LOCALHOST", "db.EXAMPLE"] {
            assert!(is_own_host(host, &names), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "[x]",
            "",
        ] {
            assert!(!is_own_host(host, &names), "{host}");
        }
        assert!(is_own_host("evil.example", &["*".to_owned()]));
    }

    #[test]
    fn hosts_are_parsed() {
        let host = |text| authority(&HeaderValue::from_static(text)).map(|it| it.to_string());
        assert_eq!(host("127.0.0.1:9121").as_deref(), Some("127.0.0.1:9121"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]:80"));
        assert_eq!(host("127.0.0.1@evil"), None);
        assert_eq!(host(""), None);
        assert_eq!(host("a b"), None);
    }

    #[test]
    fn pages_of_the_server_alone_have_its_origin() {
        let host = Authority::from_static("127.0.0.1:9121");
        let is_same = |text| is_same_origin(&HeaderValue::from_static(text), &host);
        assert!(is_same("http://127.0.0.1:9121") && is_same("https://127.0.0.1:9121"));
        for other in [
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:9121.evil",
            "ftp://127.0.0.1:9121",
        ] {
            assert!(!is_same(other), "{other}");
        }
    }

    #[test]
    fn basic_credentials() {
        let parsed = |text| credentials(&HeaderValue::from_static(text));
        let pair = |name: &[u8], password: &[u8]| Some((name.to_vec(), password.to_vec()));
        assert_eq!(parsed("Basic YTpiOmM="), pair(b"a", b"b:c"));
        assert_eq!(parsed("basic OnNlY3JldA=="), pair(b"", b"secret"));
        for wrong in ["Basic", "Basic !", "Bearer YTpi", "Basic YWI=", ""] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
