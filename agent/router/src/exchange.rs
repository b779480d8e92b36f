//! One request from its head to the end of its answer: a straight line, whatever the protocols on both sides are.

use crate::admit::{Asked, Refusal, Seen, admit, target};
use crate::answer::{self, Cut};
use crate::app::{Heard, NoAnswer, h1};
use crate::choose::{self, Lease, NoLease, Way};
use crate::decide::{self, Decision, Effective};
use crate::flight::{Phase, Ticket, Verdict};
use crate::front::Front;
use crate::headers::{self, Added, Facts};
use crate::http1::framing::Framing;
use crate::http1::head::Head;
use crate::http1::name::Known;
use crate::http1::scan::Fault;
use crate::metrics::Count;
use crate::outgoing::Outgoing;
use crate::reply::{Own, Reply};
use crate::request::Request;
use crate::sink::{Frames, Sink};
use crate::slot;
use crate::source::Source;
use crate::table::{App, Table};
use crate::thread::Ctx;
use crate::tunnel::Tunnel;
use crate::upload::{self, Ended, Progress};
use crate::wire::Wire;
use crate::{affinity, clock, health, own};
use bytes::Bytes;
use hokku_model::code;
use hokku_model::route::RELEASE_PATH;
use http::{HeaderValue, header};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What becomes of the client's connection.
pub(crate) enum After {
    /// The next request may come.
    Next,
    /// It ends; what the client still sends is thrown away for a while, so that it sees the answer.
    Linger,
    /// It ends at once: the answer is not whole.
    Break,
    /// It is a tunnel now.
    Tunnel(Box<Tunnel>),
}

/// A request whose head is here.
pub(crate) struct Arrived {
    pub head: Head,
    pub framing: Framing,
    /// When its head was whole.
    pub at: u64,
}

/// Answers a request.
pub(crate) async fn exchange(
    ctx: &Rc<Ctx>,
    wire: &Rc<Wire>,
    arrived: &Arrived,
    body: &mut Source<'_>,
    front: &Front<'_>,
) -> After {
    let head = &arrived.head;
    let seen = target(head);
    let (authority, path) = match &seen {
        Some((authority, path)) => (authority.map(str::as_bytes), &**path),
        None => (None, head.target()),
    };
    let host = head.first(Known::Host).or(authority).unwrap_or_default();
    let method = head.method_bytes();
    let mut ticket = Ticket::new(
        ctx,
        wire,
        arrived.at,
        method,
        path.as_bytes(),
        host,
        head.minor,
    );
    let mut serving = Serving {
        ctx,
        wire,
        arrived,
        front,
        ticket: &mut ticket,
    };
    let after = match serving.run(body, seen).await {
        Ok(Done::Answered) => {
            if front.keeps() && body.is_over() {
                After::Next
            } else {
                After::Linger
            }
        }
        Ok(Done::Broken) => After::Break,
        Ok(Done::Switched(lease, heard, websocket)) => {
            return After::Tunnel(Box::new(Tunnel::new(ticket, lease, heard, websocket)));
        }
        Err(refusal) => Box::pin(refuse(front, &mut ticket, head, refusal, body.is_over())).await,
    };
    drop(ticket);
    after
}

/// Answers a request that could not even be read.
pub(crate) async fn refuse_head(ctx: &Rc<Ctx>, wire: &Rc<Wire>, fault: Fault, front: &Front<'_>) {
    let mut ticket = Ticket::new(ctx, wire, clock::ms(), b"", b"/", b"", 1);
    let refusal = Refusal::bad(fault.status, fault.text);
    front.close();
    ticket.fail(code::H26);
    let reply = refusal.page.render(None, None);
    own::send(front, &mut ticket, reply, false).await;
}

/// Answers a request whose head is sound in form, but not in meaning.
pub(crate) async fn refuse_framing(
    ctx: &Rc<Ctx>,
    wire: &Rc<Wire>,
    head: &Head,
    fault: Fault,
    front: &Front<'_>,
) {
    let host = head.first(Known::Host).unwrap_or_default();
    let (method, path) = (head.method_bytes(), head.target().as_bytes());
    let mut ticket = Ticket::new(ctx, wire, clock::ms(), method, path, host, head.minor);
    let refusal = Refusal::bad(fault.status, fault.text);
    Box::pin(refuse(front, &mut ticket, head, refusal, false)).await;
}

async fn refuse(
    front: &Front<'_>,
    ticket: &mut Ticket,
    head: &Head,
    refusal: Refusal,
    read: bool,
) -> After {
    if refusal.close || !read {
        front.close();
    }
    let accept = crate::request::Fields::get(head, "accept");
    let app = ticket.app();
    let custom = app.and_then(|a| refusal.page.custom_url(&a.routing));
    let page = refusal.page.render(accept, custom);
    // the verdict, if there was one, is in the code
    ticket.flight.acquit();
    if let Some(code) = refusal.code {
        ticket.fail(code);
    }
    own::send(front, ticket, page, head.is(b"HEAD")).await;
    if front.keeps() {
        After::Next
    } else {
        After::Linger
    }
}

/// How a request ended.
enum Done {
    Answered,
    Broken,
    Switched(h1::Lease, crate::buffers::Buf, bool),
}

/// Who answers a request.
enum Met {
    App(Arc<App>),
    House(Reply),
}

/// How one attempt at a dyno ended.
enum Tried {
    /// `reusable`: the connection can serve the next request.
    Answered {
        reusable: bool,
    },
    Broken,
    Switched(crate::buffers::Buf, bool),
    Nothing(NoAnswer),
    Refused(Refusal),
}

struct Serving<'s> {
    ctx: &'s Rc<Ctx>,
    wire: &'s Rc<Wire>,
    arrived: &'s Arrived,
    front: &'s Front<'s>,
    ticket: &'s mut Ticket,
}

impl<'s> Serving<'s> {
    async fn run(
        &mut self,
        body: &mut Source<'_>,
        seen: Option<Seen<'_>>,
    ) -> Result<Done, Refusal> {
        let (ctx, head) = (self.ctx, &self.arrived.head);
        let asked = admit(head, seen)?;
        let way = Way {
            host: &asked.host,
            path: asked.path(),
        };
        let (facts, met) = self.meet(&asked, &way)?;
        let app = match met {
            Met::App(app) => app,
            Met::House(reply) => return Ok(self.reply(body, reply).await),
        };
        let https = facts.origin.https;
        self.ticket.of_app(&app);
        let request = Request {
            method: head.method(),
            host: &asked.host,
            path: way.path,
            query: asked.query(),
            client: facts.origin.ip,
            https,
            fields: head,
        };
        let mut decision = (ctx.shared.decide)(ctx, &app, &request);
        if let Decision::Verify(check) = decision {
            let verdict = Box::pin(check.verdict());
            let flight = self.ticket.flight.clone();
            let verdict = flight.until(verdict).await;
            decision = match verdict.map_err(|v| Refusal::of(v.code(), app.name.as_str()))? {
                Ok(passed) => decide::go_on(ctx, &app, &request, &passed),
                Err(reply) => Decision::Reply(reply, 0),
            };
        }
        let effective = match decision {
            Decision::Forward(effective) => effective,
            Decision::Refuse(code) => return Err(Refusal::of(code, app.name.as_str())),
            Decision::Reply(reply, saved) => {
                self.ticket.flight.saved.set(saved);
                return Ok(self.reply(body, reply).await);
            }
            // a password is asked for once
            Decision::Verify(_) => return Err(Refusal::of(code::H99, app.name.as_str())),
        };
        drop(app);
        let settings = &effective.settings;
        self.ticket
            .flight
            .limit(settings, effective.app.routing.queue_ms);
        if let Framing::Length(n) = self.arrived.framing
            && settings.body_limit.is_some_and(|limit| n > limit)
        {
            return Err(too_long());
        }
        choose::enter(ctx, self.ticket, body, &effective.app).await?;
        self.forward(body, &asked, &way, &facts, &effective).await
    }

    /// Finds out who asks, and which app it is for. The table is looked at once.
    fn meet(&mut self, asked: &Asked<'_>, way: &Way<'_>) -> Result<(Facts<'s>, Met), Refusal> {
        let (ctx, head, wire) = (self.ctx, &self.arrived.head, self.wire);
        let table = ctx.shared.routes.load();
        let facts = Facts::of(head, wire, &table.trusted, &ctx.dice);
        self.ticket
            .forwarded(facts.id.bytes(), &facts.fwd, facts.origin.https);
        if let Some(reply) = self.of_the_house(&table, asked, way)? {
            return Ok((facts, Met::House(reply)));
        }
        if head.minor == 2
            && let Some(handshake) = &wire.tls
            && ctx
                .shared
                .tls
                .is_misdirected(handshake.sni.as_deref(), way.host)
        {
            return Err(Refusal::of(code::H31, way.host));
        }
        let app = way.app(&table)?;
        Ok((facts, Met::App(app)))
    }

    /// What the router answers whatever app the host is: which release is served (on loopback), health, and ACME's
    /// challenges.
    fn of_the_house(
        &self,
        table: &Table,
        asked: &Asked<'_>,
        way: &Way<'_>,
    ) -> Result<Option<Reply>, Refusal> {
        let (ctx, head) = (self.ctx, &self.arrived.head);
        let draining = ctx.is_stopping() || ctx.shared.draining.load(Relaxed);
        let method = head.method();
        let health = health::answer(
            table,
            &table.front,
            draining,
            method,
            way.path,
            asked.query(),
        );
        if health.is_some() {
            return Ok(health);
        }
        let Some(rest) = way.path.strip_prefix("/.well-known/") else {
            return Ok(None);
        };
        if let Some(token) = rest.strip_prefix("acme-challenge/")
            && let Some(proof) = table.front.challenges.get(token)
        {
            let mut reply = Reply::new(Own::Bytes(Bytes::from(proof.clone())));
            // RFC 8555, section 8.3
            let kind = HeaderValue::from_static("application/octet-stream");
            reply.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Ok(Some(reply));
        }
        let local = self.wire.peer.ip().to_canonical().is_loopback();
        if local && way.path == RELEASE_PATH && head.first(Known::ForwardedFor).is_none() {
            return release(table, way).map(Some);
        }
        Ok(None)
    }

    /// Sends an answer of the router's own.
    async fn reply(&mut self, body: &Source<'_>, reply: Reply) -> Done {
        if !body.is_over() {
            self.front.close();
        }
        let to_head = self.arrived.head.is(b"HEAD");
        Box::pin(own::send(self.front, self.ticket, reply, to_head)).await;
        Done::Answered
    }

    /// Tries dynos until one has answered.
    async fn forward(
        &mut self,
        body: &mut Source<'_>,
        asked: &Asked<'_>,
        way: &Way<'_>,
        facts: &Facts<'_>,
        effective: &Effective,
    ) -> Result<Done, Refusal> {
        let ctx = self.ctx;
        let head = &self.arrived.head;
        let limits = &ctx.shared.limits;
        let flight = self.ticket.flight.clone();
        let routing = &effective.app.routing;
        let proto = routing.proto;
        let https = facts.origin.https;
        let wanted = routing.affinity.then(|| affinity::read(head)).flatten();
        let mut added = Added {
            hsts: effective.app.rules.hsts(https).cloned(),
            cookie: None,
        };
        let repeatable = matches!(
            head.method_bytes(),
            b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE"
        );
        let look_closely = !repeatable || self.arrived.framing != Framing::Nothing;
        let (mut attempts, mut only_fresh) = (0, false);
        loop {
            let claim = choose::choose(
                ctx,
                self.ticket,
                body,
                way,
                &effective.app,
                wanted,
                attempts,
            )
            .await?;
            let dyno = claim.dyno().clone();
            flight.assign(claim);
            self.ticket.tried(&dyno);
            let pooled = (!only_fresh)
                .then(|| choose::pooled(ctx, &dyno, proto, look_closely))
                .flatten();
            let mut now = clock::ms();
            let mut connect_ms = 0;
            let lease = match pooled {
                Some(lease) => Ok(lease),
                None => {
                    let lease = choose::connect(ctx, self.ticket, &dyno, proto).await;
                    let done = clock::ms();
                    connect_ms = done.saturating_sub(now);
                    now = done;
                    lease
                }
            };
            let mut lease = match lease {
                Ok(lease) => lease,
                Err(NoLease::Exhausted) => return Err(Refusal::of(code::H99, way.host)),
                Err(NoLease::Sentenced(verdict)) if verdict != Verdict::Connect => {
                    return Err(Refusal::of(verdict.code(), way.host));
                }
                Err(why) => {
                    flight.pardon(Verdict::Connect);
                    flight.unassign();
                    dyno.quarantine(limits.quarantine);
                    flight.count(Count::Quarantines);
                    ctx.pool.borrow_mut().forget(&dyno);
                    attempts += 1;
                    if attempts >= limits.attempts {
                        let refused = matches!(why, NoLease::Refused);
                        let code = if refused { code::H21 } else { code::H19 };
                        return Err(Refusal::of(code, way.host));
                    }
                    continue;
                }
            };
            self.ticket.given_to(&dyno, connect_ms, now);
            flight.enter_at(Phase::FirstByte, now);
            if routing.affinity {
                let known = Some(dyno.tag) == wanted;
                added.cookie = (!known).then(|| affinity::cookie_for(&dyno, https));
            }
            let used = lease.is_used();
            let progress = Progress::default();
            let tried = match &mut lease {
                Lease::H1(lease) => {
                    self.over_h1(lease, body, asked, facts, (effective, &added), &progress)
                        .await
                }
                Lease::H2(link) => {
                    let link = link.clone();
                    Box::pin(self.over_h2(link, body, asked, facts, (effective, &added), &progress))
                        .await
                }
            };
            let nothing = match tried {
                Tried::Answered { reusable } => {
                    if let Lease::H1(lease) = lease
                        && reusable
                        && progress.done.get()
                    {
                        ctx.pool
                            .borrow_mut()
                            .give_back(lease, ctx.coarse_ms(), limits);
                    }
                    return Ok(Done::Answered);
                }
                Tried::Broken => return Ok(Done::Broken),
                Tried::Switched(rest, websocket) => {
                    return match lease {
                        Lease::H1(lease) => Ok(Done::Switched(lease, rest, websocket)),
                        Lease::H2(_) => Err(Refusal::of(code::H17, way.host)),
                    };
                }
                Tried::Refused(refusal) => return Err(refusal),
                Tried::Nothing(nothing) => nothing,
            };
            if flight.verdict() == Some(Verdict::Cut) {
                return Err(Refusal::of(Verdict::Cut.code(), way.host));
            }
            let harmless = match nothing {
                NoAnswer::Unseen => true,
                NoAnswer::Silence => repeatable,
                NoAnswer::Torn | NoAnswer::Malformed(_) => false,
            };
            if harmless && used && !progress.touched.get() && !only_fresh {
                only_fresh = true;
                flight.unassign();
                ctx.pool.borrow_mut().forget(&dyno);
                continue;
            }
            return Err(match nothing {
                NoAnswer::Silence | NoAnswer::Unseen => Refusal::of(code::H13, way.host),
                NoAnswer::Torn => Refusal::of(code::H18, way.host),
                NoAnswer::Malformed(f) if f.limit => Refusal::of(code::H25, way.host),
                NoAnswer::Malformed(_) => Refusal::of(code::H17, way.host),
            });
        }
    }

    async fn over_h1(
        &mut self,
        lease: &h1::Lease,
        body: &mut Source<'_>,
        asked: &Asked<'_>,
        facts: &Facts<'_>,
        (effective, added): (&Effective, &Added),
        progress: &Progress,
    ) -> Tried {
        let head = &self.arrived.head;
        self.ticket.flight.uses(&lease.wire);
        let seen = effective.target.as_deref().unwrap_or(&asked.target);
        let first = [head.method_bytes(), b" ", seen.as_bytes(), b" HTTP/1.1"];
        let mut out = Outgoing::text(first);
        let edits = &effective.settings.request_headers;
        headers::request(&mut out, head, facts, asked.authority, edits);
        let frames = match self.arrived.framing {
            Framing::Nothing => Frames::Plain,
            Framing::Length(n) => {
                out.put_number("content-length", n);
                Frames::Plain
            }
            // said outright, because a GET's body would be left out otherwise
            Framing::Chunks | Framing::UntilClose => {
                out.put("transfer-encoding", b"chunked");
                Frames::Chunks
            }
        };
        let Outgoing::Text(mut text) = out else {
            return Tried::Refused(Refusal::of(code::H99, ""));
        };
        text.extend_from_slice(b"\r\n");
        let up = Sink::h1(&lease.io, text, frames);
        let hear = pin!(h1::hear(&lease.io, self.front, head.is(b"HEAD")));
        self.attempt(up, hear, body, asked, facts, (effective, added), progress)
            .await
    }

    async fn over_h2(
        &mut self,
        link: crate::app::h2c::Link,
        body: &mut Source<'_>,
        asked: &Asked<'_>,
        facts: &Facts<'_>,
        (effective, added): (&Effective, &Added),
        progress: &Progress,
    ) -> Tried {
        let head = &self.arrived.head;
        let mut out = Outgoing::Map(http::HeaderMap::new());
        let edits = &effective.settings.request_headers;
        headers::request(&mut out, head, facts, asked.authority, edits);
        let (giver, taker) = slot::pair();
        match self.arrived.framing {
            Framing::Nothing => giver.end(),
            Framing::Length(n) => {
                out.put_number("content-length", n);
                if n == 0 {
                    giver.end();
                }
            }
            Framing::Chunks | Framing::UntilClose => {}
        }
        let Outgoing::Map(map) = out else {
            return Tried::Refused(Refusal::of(code::H99, ""));
        };
        let host = head.first(Known::Host).unwrap_or_default();
        let host = asked
            .authority
            .unwrap_or(std::str::from_utf8(host).unwrap_or_default());
        let host = if host.is_empty() { "localhost" } else { host };
        let seen = effective.target.as_deref().unwrap_or(&asked.target);
        let hear = pin!(link.hear(head.method(), seen, host, map, taker));
        self.attempt(
            Sink::H2(giver),
            hear,
            body,
            asked,
            facts,
            (effective, added),
            progress,
        )
        .await
    }

    /// Sends the request and passes the answer on.
    #[expect(
        clippy::too_many_arguments,
        reason = "the two ways to an app meet here"
    )]
    async fn attempt<'l>(
        &mut self,
        mut up: Sink<'l>,
        hear: Pin<&mut impl Future<Output = Result<Heard<'l>, NoAnswer>>>,
        body: &mut Source<'_>,
        asked: &Asked<'_>,
        facts: &Facts<'_>,
        (effective, added): (&Effective, &Added),
        progress: &Progress,
    ) -> Tried {
        let flight = self.ticket.flight.clone();
        let front = self.front;
        let settings = &effective.settings;
        let limit = settings.body_limit.unwrap_or(u64::MAX);
        let uploading = pin!(upload::upload(
            body,
            &mut up,
            &flight,
            progress,
            limit,
            front,
            asked.expects
        ));
        let mut uploading = Some(uploading);
        let name = || effective.app.name.as_str();
        let heard = flight.until(upload::beside(&mut uploading, hear)).await;
        let mut heard = match heard {
            Err(verdict) => return Tried::Refused(Refusal::of(verdict.code(), name())),
            Ok(Err(Ended::Unseen | Ended::Unwanted)) => return Tried::Nothing(NoAnswer::Unseen),
            Ok(Err(Ended::Gone)) => {
                self.ticket.fail(code::H27);
                return Tried::Broken;
            }
            Ok(Err(Ended::Malformed)) => return Tried::Refused(malformed()),
            Ok(Err(Ended::TooLong)) => return Tried::Refused(too_long()),
            Ok(Ok(Err(nothing))) => return Tried::Nothing(nothing),
            Ok(Ok(Ok(heard))) => heard,
        };
        self.ticket.status(heard.head.status);
        if heard.head.status == 101 {
            let Some(wanted) = facts.upgrade else {
                return Tried::Refused(Refusal::of(code::H17, name()));
            };
            if !front.switch(&heard.head).await {
                self.ticket.fail(code::H27);
                return Tried::Broken;
            }
            let protocol = heard.head.first(Known::Upgrade).unwrap_or(wanted);
            let websocket = protocol.eq_ignore_ascii_case(b"websocket");
            return Tried::Switched(heard.body.rest(), websocket);
        }
        flight.enter_at(Phase::Answer, self.ctx.coarse_ms());
        if !progress.done.get() || self.ctx.is_stopping() {
            front.close();
        }
        let passed = {
            let head = &self.arrived.head;
            let passing = pin!(answer::pass_on(
                front,
                self.ticket,
                settings,
                added,
                head,
                &mut heard
            ));
            flight.until(upload::beside(&mut uploading, passing)).await
        };
        match passed {
            Ok(Ok(Ok(()))) => {
                self.ticket.conclude();
                Tried::Answered {
                    reusable: heard.reusable && heard.body.rest().is_empty(),
                }
            }
            Err(verdict) => {
                self.ticket.fail(verdict.code());
                Tried::Broken
            }
            Ok(Ok(Err(Cut::Here(code)))) => {
                self.ticket.fail(code);
                Tried::Broken
            }
            Ok(Ok(Err(Cut::Client))) | Ok(Err(Ended::Gone | Ended::Unseen | Ended::Unwanted)) => {
                self.ticket.fail(code::H27);
                Tried::Broken
            }
            Ok(Err(Ended::Malformed | Ended::TooLong)) => {
                self.ticket.fail(code::H26);
                Tried::Broken
            }
        }
    }
}

fn malformed() -> Refusal {
    Refusal::bad(
        400,
        "The chunks of the request's body are not formed as they have to be.",
    )
}

fn too_long() -> Refusal {
    Refusal::bad(413, "The request's body is longer than this app takes.")
}

/// Which release the host's app is served from, by the table that is in force now.
fn release(table: &Table, way: &Way<'_>) -> Result<Reply, Refusal> {
    let app = way.app(table).map_err(|_| Refusal::no_such_app())?;
    let doc =
        serde_json::json!({ "app": app.name, "release": app.release.map(|v| format!("v{v}")) });
    let mut reply = Reply::new(Own::Bytes(Bytes::from(doc.to_string())));
    let headers = reply.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}
