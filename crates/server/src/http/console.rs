//! `/console`: a page for operators, and the endpoint that runs its commands.
//!
//! ```text
//! request  the commands of a request, and which of them the console refuses
//! run      runs them as a client of the server
//! link     its connection
//! json     replies as JSON, with bounds on what a browser gets
//! page     HTML, CSS and JavaScript, as they are sent
//! ```
//!
//! The commands of a request run on a connection of their own, as the user that logs in with it: a
//! socket pair whose other end a worker serves as any client. So rights, limits, statistics and
//! logs are those of every client, and the HTTP thread touches no data.

mod json;
mod link;
mod request;
mod run;

use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};

use super::access;
use super::routes::{Ends, Refused};
use crate::server::Server;

/// The way to the page.
pub(super) const PAGE: &str = "/console";
/// The way to the endpoint.
pub(super) const ENDPOINT: &str = "/console/api";

/// Bytes of a request: commands of the page are short, and values that are typed in are not long.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A header that pages of others cannot send without the server's consent, which it never gives.
const OWN_HEADER: &str = "x-lodestore-console";

/// A file of the page: the type of its contents, and the contents.
pub(super) fn file(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        PAGE => (
            "text/html; charset=utf-8",
            include_str!("console/page/index.html"),
        ),
        "/console/console.css" => (
            "text/css; charset=utf-8",
            include_str!("console/page/console.css"),
        ),
        "/console/console.js" => (
            "text/javascript; charset=utf-8",
            include_str!("console/page/console.js"),
        ),
        _ => return None,
    })
}

/// Runs the commands of a request; the replies as JSON.
///
/// # Errors
/// The request is not one of the page, or is too large; the login is refused; the replies are
/// too large.
pub(super) async fn run<B>(
    server: &Arc<Server>,
    ends: Ends,
    request: Request<B>,
) -> Result<String, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    check_headers(request.headers())?;
    let login = access::login(request.headers())?;
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
    let body = body.collect().await.map_err(|_| {
        let reason = "The contents of the request are too large, or did not arrive";
        Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
    })?;
    let asked = request::parse(&body.to_bytes())
        .map_err(|reason| Refused::new(StatusCode::BAD_REQUEST, reason))?;
    run::run(server, ends, login, &asked).await
}

/// The page sends JSON and a header of its own. Neither can come from a form of another page, and
/// a script of one would have to ask first.
fn check_headers(headers: &HeaderMap) -> Result<(), Refused> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if !is_json || headers.get(OWN_HEADER).is_none() {
        let reason = "The endpoint is for the page of the console: JSON, with its header";
        return Err(Refused::new(StatusCode::FORBIDDEN, reason));
    }
    match headers.get("sec-fetch-site") {
        Some(site) if site != "same-origin" && site != "none" => {
            let reason = "Requests of pages of other servers are refused";
            Err(Refused::new(StatusCode::FORBIDDEN, reason))
        }
        _ => Ok(()),
    }
}
