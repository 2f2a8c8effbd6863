//! What a request asks for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http_body_util::Full;
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::metrics::Metrics;
use super::{access, console, health};
use crate::server::Server;

/// Bytes of a path with its query: several times the longest that there is.
const PATH_BYTES_MAX: usize = 1024;

const PLAIN: &str = "text/plain; charset=utf-8";

/// The text format of Prometheus.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "Lodestore\n\n/metrics  figures for Prometheus\n/healthz  the process serves\n\
                     /readyz   data is loaded, the log is healthy, a replica is in sync\n\
                     /console  a page for operators\n";

/// What a page may load and do: its own files, requests to this server, nothing inside of others.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                           img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The two ends of a connection.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// The client.
    pub(super) peer: SocketAddr,
    /// This end.
    pub(super) local: SocketAddr,
}

/// What the requests of a server share.
pub(super) struct Site {
    pub(super) server: Arc<Server>,
    pub(super) metrics: Metrics,
}

/// An answer that is not what was asked for, with its reason as a line of text.
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) reason: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
        }
    }
}

/// An answer: status, type of the contents, contents.
type Answer = (StatusCode, &'static str, String);

/// Answers one request.
pub(super) async fn answer<B>(site: &Site, ends: Ends, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    site.server.http.requests.fetch_add(1, Ordering::Relaxed);
    let is_page = console::file(request.uri().path()).is_some();
    let is_endpoint = request.uri().path() == console::ENDPOINT;
    let answer = match is_endpoint {
        true => run_console(site, ends, request).await,
        false => route(site, ends, &request),
    };
    let (status, kind, text) =
        answer.unwrap_or_else(|refused| (refused.status, PLAIN, format!("{}\n", refused.reason)));
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            if is_page {
                PAGE_POLICY
            } else {
                "default-src 'none'"
            },
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    match status {
        // The page asks for the password itself, instead of the browser.
        StatusCode::UNAUTHORIZED if !is_endpoint => {
            let way = HeaderValue::from_static("Basic realm=\"lodestore\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, way);
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = if is_endpoint { "POST" } else { "GET, HEAD" };
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        _ => {}
    }
    response
}

async fn run_console<B>(site: &Site, ends: Ends, request: Request<B>) -> Result<Answer, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    access::check_source(&site.server, ends, &request)?;
    if *request.method() != Method::POST {
        let reason = "Only POST is possible";
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    let json = console::run(&site.server, ends, request).await?;
    Ok((StatusCode::OK, "application/json", json))
}

fn route<B: Body>(site: &Site, ends: Ends, request: &Request<B>) -> Result<Answer, Refused> {
    access::check_source(&site.server, ends, request)?;
    let uri = request.uri();
    let path_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path_bytes > PATH_BYTES_MAX {
        let reason = "The path is too long";
        return Err(Refused::new(StatusCode::URI_TOO_LONG, reason));
    }
    let respond: fn(&Site, &str) -> Answer = match uri.path() {
        "/" => |_, _| (StatusCode::OK, PLAIN, INDEX.to_owned()),
        "/healthz" => |_, _| (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/readyz" => |site, _| ready(site),
        "/metrics" => |site, _| {
            (
                StatusCode::OK,
                EXPOSITION,
                site.metrics.render(&site.server),
            )
        },
        path if console::file(path).is_some() => |_, path| {
            let (kind, text) = console::file(path).unwrap_or_default();
            (StatusCode::OK, kind, text.to_owned())
        },
        _ => {
            let reason = "There is nothing here; / says what there is";
            return Err(Refused::new(StatusCode::NOT_FOUND, reason));
        }
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let reason = "Only GET and HEAD are possible";
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, reason));
    }
    if !request.body().is_end_stream() {
        let reason = "A request has no contents here";
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    if uri.path() == "/metrics" {
        access::authorize(&site.server, ends, request)?;
    }
    Ok(respond(site, uri.path()))
}

fn ready(site: &Site) -> Answer {
    let reasons = health::reasons(&site.server);
    if reasons.is_empty() {
        return (StatusCode::OK, PLAIN, "ready\n".to_owned());
    }
    let text = format!("not ready: {}\n", reasons.join("; "));
    (StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
}
