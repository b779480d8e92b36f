//! One request: which app, which dyno, over which connection, and what becomes of it.

use crate::body::{Answer, Down, Up, Upload, is_complete};
use crate::compress::{self, Asked};
use crate::dyno::{Claim, Dyno};
use crate::flight::{ClientFault, Phase, Ticket, Verdict};
use crate::headers::{self, Forwarded};
use crate::metrics::Count;
use crate::page::Page;
use crate::pick::{Pick, pick};
use crate::pool::Lease;
use crate::reply::Own;
use crate::thread::Ctx;
use crate::wire::Wire;
use crate::{clock, framing, upgrade};
use hokku_model::code::{self, Code};
use hokku_model::route::{AppState, RELEASE_PATH};
use hokku_model::routing::Compress;
use http::header::{self, COOKIE, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Why the router answers by itself.
struct Refusal {
    page: Page,
    code: Option<Code>,
}

impl Refusal {
    fn of(code: Code, app: &str) -> Refusal {
        Refusal {
            page: Page::of_code(code, app),
            code: Some(code),
        }
    }

    fn bad(status: StatusCode, text: &str) -> Refusal {
        Refusal {
            page: Page::refusal(status, text),
            code: Some(code::H26),
        }
    }
}

/// A request without its body, ready for the app.
#[derive(Clone)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// Answers one request. `fault`: why its head must be refused, if it must.
pub(crate) async fn handle(
    ctx: Rc<Ctx>,
    wire: Arc<Wire>,
    mut request: Request<Incoming>,
    fault: Option<&'static str>,
) -> Result<Response<Down>, Infallible> {
    let mut ticket = Ticket::new(&ctx, &wire, &request);
    let accept = request.headers().get(header::ACCEPT).cloned();
    let is_refused_head = fault.or_else(|| framing::fault_of_headers(request.headers()));
    let outcome = match is_refused_head {
        Some(text) => {
            ticket.leaves_unread();
            Err(Refusal::bad(StatusCode::BAD_REQUEST, text))
        }
        None => match admit(&ctx, &wire, &mut ticket, &mut request) {
            Ok(Admitted::Release(response)) => return Ok(concluded(ticket, response)),
            Ok(Admitted::Forward(host, forwarded)) => {
                let on_client = forwarded
                    .upgrade
                    .is_some()
                    .then(|| hyper::upgrade::on(&mut request));
                let asked = Asked::of(request.method(), request.headers());
                let (parts, body) = request.into_parts();
                let upload = Upload::new(body);
                let head = outgoing(parts, upload.as_ref());
                match send(&ctx, &mut ticket, &host, head, upload.clone()).await {
                    Ok((response, lease)) => {
                        return Ok(match (response.status(), on_client) {
                            (StatusCode::SWITCHING_PROTOCOLS, Some(on_client)) => {
                                upgrade::switch(response, ticket, on_client)
                            }
                            (StatusCode::SWITCHING_PROTOCOLS, None) => {
                                lease.wire.shut();
                                refused(ticket, Refusal::of(code::H17, &host), accept.as_ref())
                            }
                            _ => answered(response, ticket, lease, upload, asked).await,
                        });
                    }
                    Err(refusal) => {
                        if !is_complete(upload.as_ref()) {
                            ticket.leaves_unread();
                        }
                        Err(refusal)
                    }
                }
            }
            Err(refusal) => Err(refusal),
        },
    };
    Ok(match outcome {
        Ok(response) => response,
        Err(refusal) => refused(ticket, refusal, accept.as_ref()),
    })
}

enum Admitted {
    /// Answered by the router itself.
    Release(Response<bytes::Bytes>),
    /// To be sent to the app of this host.
    Forward(String, Forwarded),
}

/// Checks a request and rewrites its headers.
fn admit(
    ctx: &Ctx,
    wire: &Wire,
    ticket: &mut Ticket,
    request: &mut Request<Incoming>,
) -> Result<Admitted, Refusal> {
    let bad = |text| Refusal::bad(StatusCode::BAD_REQUEST, text);
    if request.method() == Method::CONNECT {
        return Err(Refusal::bad(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is not a method this server takes.",
        ));
    }
    let host = headers::host(request.uri(), request.headers()).map_err(bad)?;
    let version = request.version();
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| bad("The request's target is not a URL."))?;
        request.headers_mut().insert(HOST, host);
    }
    if let Some(expect) = request.headers_mut().remove(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Refusal::bad(
            StatusCode::EXPECTATION_FAILED,
            "The only expectation taken is \"100-continue\".",
        ));
    }
    if version == Version::HTTP_2
        && let Some(handshake) = &wire.tls
        && ctx
            .shared
            .tls
            .is_misdirected(handshake.sni.as_deref(), &host)
    {
        return Err(Refusal::bad(
            StatusCode::MISDIRECTED_REQUEST,
            "This connection was opened for another host, whose certificate is not for this one.",
        ));
    }
    let local = wire.peer.ip().to_canonical().is_loopback();
    if local
        && request.uri().path() == RELEASE_PATH
        && !request.headers().contains_key(headers::FORWARDED_FOR)
    {
        return release(ctx, &host).map(Admitted::Release);
    }
    if version == Version::HTTP_2 {
        join_cookies(request.headers_mut());
    }
    let trusted = local && ctx.shared.trust_loopback;
    let forwarded =
        headers::prepare_request(request.headers_mut(), version, wire, trusted, &ctx.dice);
    ticket.forwarded(
        forwarded.request_id.clone(),
        forwarded.fwd.clone(),
        forwarded.https,
    );
    Ok(Admitted::Forward(host, forwarded))
}

/// Which release the host's app is served from, by the table that is in force now.
fn release(ctx: &Ctx, host: &str) -> Result<Response<bytes::Bytes>, Refusal> {
    let table = ctx.shared.routes.load();
    let app = table.find_by_host(host).ok_or(Refusal {
        page: Page::no_such_app(),
        code: None,
    })?;
    let doc =
        serde_json::json!({ "app": app.name, "release": app.release.map(|v| format!("v{v}")) });
    let mut response = Response::new(bytes::Bytes::from(doc.to_string()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// HTTP/2 may split cookies over lines; HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

fn outgoing(mut parts: http::request::Parts, upload: Option<&Rc<Upload>>) -> Head {
    if upload.is_some_and(|u| u.is_chunked()) {
        // said outright, because a GET's body would be left out otherwise
        parts
            .headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let uri = if parts.uri.authority().is_some() {
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        path.parse().unwrap_or_else(|_| Uri::from_static("/"))
    } else {
        parts.uri
    };
    Head {
        method: parts.method,
        uri,
        headers: parts.headers,
    }
}

/// Gets an answer's head from one of the app's dynos.
async fn send(
    ctx: &Rc<Ctx>,
    ticket: &mut Ticket,
    host: &str,
    head: Head,
    upload: Option<Rc<Upload>>,
) -> Result<(Response<Incoming>, Lease), Refusal> {
    let flight = ticket.flight.clone();
    let limits = &ctx.shared.limits;
    let repeatable = head.method.is_idempotent();
    let (mut head, mut attempts, mut only_fresh) = (Some(head), 0, false);
    while let Some(to_send) = head.take() {
        let claim = choose(ctx, ticket, host, to_send.uri.path(), attempts).await?;
        let dyno = claim.dyno().clone();
        flight.assign(claim);
        ticket.tried(&dyno);
        let begun = clock::ms();
        let mut lease = match lease(ctx, ticket, &dyno, only_fresh, !repeatable).await {
            Ok(lease) => lease,
            Err(NoLease::Exhausted) => return Err(Refusal::of(code::H99, host)),
            Err(NoLease::Sentenced(verdict)) if verdict != Verdict::Connect => {
                return Err(Refusal::of(verdict.code(), host));
            }
            Err(why) => {
                flight.pardon(Verdict::Connect);
                flight.unassign();
                dyno.quarantine(limits.quarantine);
                ctx.metrics.count(flight.slot.get(), Count::Quarantines, 1);
                ctx.pool.borrow_mut().forget(&dyno);
                attempts += 1;
                if attempts >= limits.attempts {
                    let refused = matches!(why, NoLease::Refused);
                    return Err(Refusal::of(
                        if refused { code::H21 } else { code::H19 },
                        host,
                    ));
                }
                head = Some(to_send);
                continue;
            }
        };
        ticket.given_to(
            &dyno,
            if lease.used {
                0
            } else {
                clock::ms().saturating_sub(begun)
            },
        );
        lease.begin();
        flight.uses(&lease.wire);
        flight.enter(Phase::FirstByte);
        let spare = (lease.used && repeatable).then(|| to_send.clone());
        let mut request = Request::new(Up::new(upload.clone(), flight.clone()));
        *request.method_mut() = to_send.method;
        *request.uri_mut() = to_send.uri;
        *request.headers_mut() = to_send.headers;
        match flight.until(lease.sender.try_send_request(request)).await {
            Ok(Ok(response)) => return Ok((response, lease)),
            Err(verdict) => {
                lease.wire.shut();
                return Err(Refusal::of(verdict.code(), host));
            }
            Ok(Err(mut e)) => {
                if flight.verdict() == Some(Verdict::Cut) {
                    return Err(Refusal::of(Verdict::Cut.code(), host));
                }
                match flight.client_fault.get() {
                    Some(ClientFault::Gone) => return Err(Refusal::of(code::H27, host)),
                    Some(ClientFault::BadBody) => {
                        let text =
                            "The chunks of the request's body are not formed as they have to be.";
                        return Err(Refusal::bad(StatusCode::BAD_REQUEST, text));
                    }
                    None => {}
                }
                let untouched = upload.as_ref().is_none_or(|u| u.is_untouched());
                let never_sent = e.take_message().map(|request| {
                    let (parts, _) = request.into_parts();
                    Head {
                        method: parts.method,
                        uri: parts.uri,
                        headers: parts.headers,
                    }
                });
                let again = never_sent.or(spare.filter(|_| !lease.wire.has_received()));
                if lease.used && untouched && again.is_some() && !only_fresh {
                    head = again;
                    only_fresh = true;
                    flight.unassign();
                    ctx.pool.borrow_mut().forget(&dyno);
                    continue;
                }
                let code = match () {
                    () if e.error().is_parse() => code::H17,
                    () if lease.wire.has_received() => code::H18,
                    () => code::H13,
                };
                return Err(Refusal::of(code, host));
            }
        }
    }
    Err(Refusal::of(code::H99, host))
}

/// Finds a dyno and claims it, waiting if the app may get one. `attempts`: how many refused this request already.
async fn choose(
    ctx: &Rc<Ctx>,
    ticket: &mut Ticket,
    host: &str,
    path: &str,
    attempts: u32,
) -> Result<Claim, Refusal> {
    let flight = ticket.flight.clone();
    let mut desperate = false;
    let mut place = None;
    loop {
        // armed before the table is read, so that no change is missed
        let changed = ctx.changed.notified();
        let nap = {
            let table = ctx.shared.routes.load();
            let Some(app) = table.find(host, path) else {
                return Err(if table.version == 0 {
                    Refusal::of(code::H99, host)
                } else {
                    Refusal {
                        page: Page::no_such_app(),
                        code: None,
                    }
                });
            };
            let compress = app.routing.settings.compress.unwrap_or_default();
            ticket.of_app(app.id, compress);
            flight.slot.set(app.slot);
            if app.state == AppState::Maintenance {
                return Err(Refusal::of(code::H80, app.name.as_str()));
            }
            match pick(app, &ctx.dice, None, desperate) {
                Pick::Got(claim) => return Ok(claim),
                Pick::Quarantined => Some(Duration::from_millis((50 << attempts.min(5)).min(1000))),
                Pick::Empty => {
                    match app.state {
                        AppState::Running | AppState::Maintenance => {}
                        AppState::Blank => return Err(Refusal::of(code::H81, app.name.as_str())),
                        AppState::Stopped => return Err(Refusal::of(code::H14, app.name.as_str())),
                        AppState::Crashed => return Err(Refusal::of(code::H10, app.name.as_str())),
                    }
                    if place.is_none() {
                        place = Place::in_queue(&app.waiting, ctx.shared.limits.queue);
                        if place.is_none() {
                            return Err(Refusal::of(code::H11, app.name.as_str()));
                        }
                    }
                    None
                }
            }
        };
        flight.enter(Phase::Queue);
        let waited = match nap {
            None => flight.until(changed).await,
            Some(nap) => {
                desperate = true;
                flight
                    .until(async { _ = tokio::time::timeout(nap, changed).await })
                    .await
            }
        };
        waited.map_err(|verdict| Refusal::of(verdict.code(), host))?;
    }
}

/// A place in an app's queue.
struct Place(Arc<AtomicU32>);

impl Place {
    fn in_queue(waiting: &Arc<AtomicU32>, limit: u32) -> Option<Place> {
        let place = Place(waiting.clone());
        (waiting.fetch_add(1, Relaxed) < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Why there is no connection.
enum NoLease {
    /// The dyno takes none.
    Refused,
    /// This machine has run out of something; the dyno is not to blame.
    Exhausted,
    /// A deadline was faster.
    Sentenced(Verdict),
}

/// A pooled or a new connection.
async fn lease(
    ctx: &Rc<Ctx>,
    ticket: &Ticket,
    dyno: &Arc<Dyno>,
    only_fresh: bool,
    look_closely: bool,
) -> Result<Lease, NoLease> {
    let flight = &ticket.flight;
    flight.enter(Phase::Connect);
    let pooled = || {
        if only_fresh {
            None
        } else {
            ctx.pool.borrow_mut().take(dyno, look_closely)
        }
    };
    while let Some(mut lease) = pooled() {
        if lease.sender.is_ready() {
            return Ok(lease);
        }
        if let Ok(()) = flight
            .until(lease.sender.ready())
            .await
            .map_err(NoLease::Sentenced)?
        {
            return Ok(lease);
        }
    }
    match flight
        .until(Lease::connect(dyno))
        .await
        .map_err(NoLease::Sentenced)?
    {
        Ok(lease) => {
            dyno.release_from_quarantine();
            Ok(lease)
        }
        Err(e) => {
            let ours = [
                libc::EMFILE,
                libc::ENFILE,
                libc::ENOBUFS,
                libc::ENOMEM,
                libc::EADDRNOTAVAIL,
            ];
            if !e.raw_os_error().is_some_and(|n| ours.contains(&n)) {
                return Err(NoLease::Refused);
            }
            tracing::warn!(
                "no connection to {} at {}: {e}. Raise the limit of open files.",
                dyno.name,
                dyno.addr
            );
            Err(NoLease::Exhausted)
        }
    }
}

async fn answered(
    response: Response<Incoming>,
    mut ticket: Ticket,
    lease: Lease,
    upload: Option<Rc<Upload>>,
    asked: Asked,
) -> Response<Down> {
    let (mut parts, body) = response.into_parts();
    ticket.status(parts.status.as_u16());
    headers::prepare_response(&mut parts.headers, false);
    parts.version = Version::HTTP_11;
    ticket.flight.enter(Phase::Answer);
    let setting = ticket.compress;
    let answer = Answer::new(body, ticket, lease, upload);
    let body = if setting != Compress::Off {
        compress::apply(&asked, setting, parts.status, &mut parts.headers, answer).await
    } else {
        Down::answer(answer)
    };
    Response::from_parts(parts, body)
}

fn refused(mut ticket: Ticket, refusal: Refusal, accept: Option<&HeaderValue>) -> Response<Down> {
    let response = refusal
        .page
        .render(accept.map(HeaderValue::as_bytes), None)
        .map(|own| match own {
            Own::Bytes(bytes) => bytes,
            Own::File { .. } => bytes::Bytes::new(),
        });
    if let Some(code) = refusal.code {
        ticket.fail(code);
    }
    let mut response = concluded(ticket, response);
    if refusal.code == Some(code::H26) {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn concluded(mut ticket: Ticket, response: Response<bytes::Bytes>) -> Response<Down> {
    ticket.status(response.status().as_u16());
    ticket.add_bytes(response.body().len());
    ticket.conclude();
    response.map(|bytes| Down::Page(Some(bytes)))
}

/// The line of a request that could not even be read. The server has answered 400 by itself.
pub(crate) fn log_unreadable(ctx: &Rc<Ctx>, wire: &Arc<Wire>) {
    let nothing = Request::new(());
    let mut ticket = Ticket::new(ctx, wire, &nothing);
    ticket.fail(code::H26);
}
