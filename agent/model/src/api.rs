//! The JSON of the API, as the Heroku Platform API v3 names it (Dev Center "Platform API Reference"), shared by the
//! agent and the CLI. Fields that hokku adds are marked; unknown fields are ignored by both sides.
//! Times are RFC 3339 in UTC with seconds, such as `2026-11-21T12:00:00Z`.

use crate::limits::{Quota, TypeLimits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An error answer: `{"id":"not_found","message":"Couldn't find that app."}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// Machine-readable: `not_found`, `invalid_params`, `unauthorized`, `forbidden`, `conflict`, …
    pub id: String,
    /// For a person: what happened, why, what to do next.
    pub message: String,
    /// What was not found, such as `app`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// A reference to something by id and name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ref {
    /// The id.
    pub id: String,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A reference to a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserRef {
    /// The id.
    pub id: String,
    /// The e-mail, or `root`.
    pub email: String,
}

/// A reference to a release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The id.
    pub id: String,
    /// Its number.
    pub version: u32,
}

/// `GET /account`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The id.
    pub id: String,
    /// The e-mail.
    pub email: String,
}

/// `GET /apps/:app`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Automatic certificate management.
    pub acm: bool,
    /// When made.
    pub created_at: String,
    /// The id.
    pub id: String,
    /// Where to push.
    pub git_url: String,
    /// Maintenance mode.
    pub maintenance: bool,
    /// The name.
    pub name: String,
    /// Whose.
    pub owner: UserRef,
    /// Always `us`, so that the CLI prints none.
    pub region: Ref,
    /// When a release was last promoted.
    pub released_at: Option<String>,
    /// Bytes of the repository; null when unknown.
    pub repo_size: Option<u64>,
    /// Bytes of the current slug; null when there is none.
    pub slug_size: Option<u64>,
    /// The stack, such as `heroku-22`.
    pub stack: Ref,
    /// The stack builds use.
    pub build_stack: Ref,
    /// `cedar`.
    pub generation: Ref,
    /// What the current release's buildpack calls itself.
    pub buildpack_provided_description: Option<String>,
    /// When last changed.
    pub updated_at: String,
    /// Where it answers.
    pub web_url: String,
}

/// `POST /apps`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateApp {
    /// The name; one is made up when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `PATCH /apps/:app`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateApp {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Maintenance mode on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
}

/// `GET /apps/:app/config-vars`; a PATCH sends the same with null for what is to be removed.
pub type ConfigVars = BTreeMap<String, String>;

/// `PATCH /apps/:app/config-vars`
pub type ConfigPatch = BTreeMap<String, Option<String>>;

/// `GET /apps/:app/formation`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Formation {
    /// The app.
    pub app: Ref,
    /// The Procfile's command.
    pub command: String,
    /// When first scaled.
    pub created_at: String,
    /// The id, made of app and type.
    pub id: String,
    /// How many are wanted.
    pub quantity: u32,
    /// The size's name.
    pub size: String,
    /// The process type.
    pub r#type: String,
    /// When last changed.
    pub updated_at: String,
}

/// One update of `PATCH /apps/:app/formation` (`{"updates":[…]}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormationUpdate {
    /// A number, or the text `"3"`, `"+1"`, `"-1"`, as the Heroku CLI sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Quantity>,
    /// The size's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The process type.
    pub r#type: String,
}

/// A quantity as a number or as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Absolute.
    Number(u32),
    /// Absolute or, with a sign, relative.
    Text(String),
}

/// The body of `PATCH /apps/:app/formation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FormationPatch {
    /// All or none is done.
    pub updates: Vec<FormationUpdate>,
}

/// `GET /hokku/apps/:app/limits`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitsPage {
    /// One a process type.
    pub limits: Vec<Limits>,
    /// What this host can't hold a dyno to, in words.
    pub notices: Vec<String>,
}

/// The limits of one process type.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The process type.
    pub r#type: String,
    /// What was set.
    pub set: TypeLimits,
    /// What holds: the size's limits under those that were set.
    pub quota: Quota,
}

/// `PATCH /hokku/apps/:app/limits`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitsPatch {
    /// The process type, or `run` for one-off dynos.
    pub r#type: String,
    /// What to set.
    #[serde(default)]
    pub set: TypeLimits,
    /// Names of limits to forget first, or `all`.
    #[serde(default)]
    pub unset: Vec<String>,
}

/// hokku: `GET /hokku/apps/:app/autoscale`: one for each process type that follows its load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutoscaleLine {
    /// The process type.
    pub r#type: String,
    /// How many dynos are wanted now.
    pub quantity: u32,
    /// What was asked for.
    pub plan: crate::autoscale::Plan,
    /// The bounds that hold now, by the schedule.
    pub bounds: (u32, u32),
    /// What was decided last; null when nothing was measured yet.
    #[serde(default)]
    pub told: Option<AutoscaleTold>,
}

/// A decision, and what it was made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AutoscaleTold {
    /// When, RFC 3339.
    pub at: String,
    /// In words, with its numbers.
    pub why: String,
    /// The newest measurement: names and values in words.
    #[serde(default)]
    pub measured: Vec<(String, String)>,
    /// What can't be measured, in words.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The latest changes, newest first: when, and why.
    #[serde(default)]
    pub changes: Vec<(String, String)>,
}

/// hokku: `PATCH /hokku/apps/:app/autoscale/:type`. What is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AutoscalePatch {
    /// The fewest dynos.
    #[serde(default)]
    pub min: Option<u32>,
    /// The most dynos.
    #[serde(default)]
    pub max: Option<u32>,
    /// `queue=50ms,cpu=70%`
    #[serde(default)]
    pub target: Option<String>,
    /// `Mon-Fri 8:00`: the bounds are those from that time on.
    #[serde(default)]
    pub at: Option<String>,
    /// The time zone of all such times.
    #[serde(default)]
    pub zone: Option<String>,
    /// A command that prints the number of jobs that wait.
    #[serde(default)]
    pub depth_command: Option<String>,
    /// A path of the app that answers with it.
    #[serde(default)]
    pub depth_path: Option<String>,
}

/// hokku: `GET /hokku/apps/:app/dynos/:dyno/why`: one for each dyno of the name, or one for the empty slot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// `web.1`
    pub name: String,
    /// The dyno's id; null for a slot without a dyno.
    pub id: Option<String>,
    /// The release it runs; 0 when there is none.
    pub release: u32,
    /// `starting`, `up`, `stopping`, `crashed`, `down`.
    pub state: String,
    /// When it came into that state.
    pub since: Option<String>,
    /// Why, in sentences.
    pub because: String,
    /// What has to happen first; empty when it waits for nothing.
    #[serde(default)]
    pub waits_for: String,
    /// What is done next; empty when nothing is.
    #[serde(default)]
    pub next: String,
    /// When at the latest.
    pub next_at: Option<String>,
    /// How its health checks stand, a line each.
    #[serde(default)]
    pub checks: Vec<String>,
}

/// `GET /apps/:app/dynos`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dyno {
    /// The app.
    pub app: Ref,
    /// Where `app run` attaches (hokku: an absolute URL path, WebSocket); null when not attachable.
    pub attach_url: Option<String>,
    /// What runs.
    pub command: String,
    /// When it was ordered.
    pub created_at: String,
    /// The id.
    pub id: String,
    /// `web.1`
    pub name: String,
    /// The release it runs.
    pub release: ReleaseRef,
    /// The size's name.
    pub size: String,
    /// `starting`, `up`, `crashed`, `stopping`, `down`.
    pub state: String,
    /// The process type.
    pub r#type: String,
    /// When the state last changed.
    pub updated_at: String,
    /// hokku: why it is in this state, in words; empty when there is nothing to say.
    #[serde(default)]
    pub explanation: String,
    /// hokku: the process id on the host of the dyno's parent; 0 when none runs.
    #[serde(default)]
    pub pid: i32,
}

/// `POST /apps/:app/dynos`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunDyno {
    /// Someone will attach.
    #[serde(default)]
    pub attach: bool,
    /// A shell command line, as Heroku's CLI sends it. Ignored when `argv` is given.
    #[serde(default)]
    pub command: String,
    /// hokku: program and arguments, unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<String>>,
    /// More environment, over the config vars. Numbers are taken as text.
    #[serde(default)]
    pub env: BTreeMap<String, serde_value::Scalar>,
    /// No terminal is wanted.
    #[serde(default)]
    pub force_no_tty: Option<bool>,
    /// The size's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The process type to be named after; `run` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Seconds after which it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<u64>,
    /// hokku: id or number of the release to run in; the current one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// A JSON scalar taken as text: the Heroku CLI sends `COLUMNS` as a number.
pub mod serde_value {
    use serde::{Deserialize, Deserializer, Serialize};

    /// The text of a string, number or boolean.
    #[derive(Clone, Debug, Default, PartialEq, Serialize)]
    #[serde(transparent)]
    pub struct Scalar(pub String);

    impl<'de> Deserialize<'de> for Scalar {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(untagged)]
            enum Any {
                S(String),
                I(i64),
                F(f64),
                B(bool),
            }
            Ok(Scalar(match Any::deserialize(d)? {
                Any::S(s) => s,
                Any::I(i) => i.to_string(),
                Any::F(f) => f.to_string(),
                Any::B(b) => b.to_string(),
            }))
        }
    }
}

/// `GET /apps/:app/releases`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Names of add-on plans: always empty here.
    pub addon_plan_names: Vec<String>,
    /// The app.
    pub app: Ref,
    /// When made.
    pub created_at: String,
    /// Is it the one that serves?
    pub current: bool,
    /// Why it was made.
    pub description: String,
    /// Can be rolled back to.
    pub eligible_for_rollback: bool,
    /// The id.
    pub id: String,
    /// The output of its release command or, for a failed one, why it failed; null when there is none.
    pub output_stream_url: Option<String>,
    /// The slug; null when it has none.
    pub slug: Option<Ref>,
    /// `succeeded`, `pending`, `failed`.
    pub status: String,
    /// When last changed.
    pub updated_at: String,
    /// Who.
    pub user: UserRef,
    /// The number.
    pub version: u32,
    /// hokku: the commit that was built; empty when none was.
    #[serde(default)]
    pub commit: String,
    /// hokku: why a failed release failed.
    #[serde(default)]
    pub failure: String,
    /// hokku: has it a release phase, whose output `output_stream_url` is?
    #[serde(default)]
    pub release_command: bool,
}

/// `POST /apps/:app/releases`: a new release that repeats this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Id or number of the release to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Instead of it: the id of the slug of a release that failed, which is to be tried again. Heroku's CLI retries so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    /// hokku: serve without its release phase.
    #[serde(default)]
    pub skip_release_phase: bool,
}

/// hokku: `POST /hokku/apps/:app/releases/retry`: a new release that repeats one that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Id or number of the failed release; the newest release when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Serve without its release phase.
    #[serde(default)]
    pub skip_release_phase: bool,
}

/// hokku: `PATCH /hokku/apps/:app/config-vars`: as the Platform API's, with what is asked besides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// What to set; null for what is to be removed.
    pub vars: ConfigPatch,
    /// Serve without the release phase.
    #[serde(default)]
    pub skip_release_phase: bool,
}

/// `GET /apps/:app/builds`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// The app.
    pub app: Ref,
    /// When it began.
    pub created_at: String,
    /// The id.
    pub id: String,
    /// Where its output can be read.
    pub output_stream_url: String,
    /// The release it became.
    pub release: Option<Ref>,
    /// `pending`, `succeeded`, `failed`.
    pub status: String,
    /// When last changed.
    pub updated_at: String,
    /// Who pushed.
    pub user: UserRef,
    /// hokku: the commit.
    #[serde(default)]
    pub commit: String,
}

/// `POST /apps/:app/log-sessions`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSessionRequest {
    /// Only this dyno or process type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dyno: Option<String>,
    /// How many lines back; 100 when absent, 1500 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
    /// `app` or `heroku`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Stay and follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<bool>,
}

/// The answer to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSession {
    /// When made.
    pub created_at: String,
    /// The id.
    pub id: String,
    /// Where to read; carries its own secret. Plain lines, or server-sent events when asked for by Accept.
    pub logplex_url: String,
    /// When last changed.
    pub updated_at: String,
}

/// `GET /account/keys`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// What stands behind the key.
    pub comment: String,
    /// When added.
    pub created_at: String,
    /// Whose.
    pub email: String,
    /// `SHA256:…`
    pub fingerprint: String,
    /// The id.
    pub id: String,
    /// As in authorized_keys.
    pub public_key: String,
    /// When last changed.
    pub updated_at: String,
}

/// `POST /account/keys`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreateKey {
    /// As in authorized_keys.
    pub public_key: String,
}

/// `POST /oauth/authorizations`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateAuthorization {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// hokku: whose, when root makes one for somebody; the asker's own otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// The secret inside an authorization.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The id.
    pub id: String,
    /// Shown once, when made; null ever after.
    pub token: Option<String>,
}

/// `GET /oauth/authorizations`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Authorization {
    /// The secret.
    pub access_token: AccessToken,
    /// When made.
    pub created_at: String,
    /// What it is for.
    pub description: String,
    /// The id.
    pub id: String,
    /// Always `["global"]` for now.
    pub scope: Vec<String>,
    /// When last changed.
    pub updated_at: String,
    /// Whose.
    pub user: UserRef,
}

/// `GET /hokku/status`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// What this host can't do, in words.
    pub notices: Vec<String>,
    /// Addresses at which the router takes requests.
    pub router: Vec<String>,
    /// Is the router connected?
    pub router_up: bool,
    /// Apps, dynos.
    pub apps: u32,
    /// Running dynos.
    pub dynos: u32,
    /// The port at which people reach the router, as shown in URLs.
    pub web_port: u16,
    /// The domain under which apps get their host names: `<app>.<domain>`.
    pub apps_domain: String,
}

/// Text messages on the attach WebSocket; binary messages are stdin (to the agent) and, with a first byte of 1 for
/// stdout or 2 for stderr, output (from the agent).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum AttachMessage {
    /// Client: the terminal's size.
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Client: end of stdin.
    StdinEof,
    /// Client: this signal to every process of the dyno.
    Signal {
        /// Its number.
        number: i32,
    },
    /// Client, first message of an exec: what to run.
    Exec {
        /// The command.
        order: crate::exec::ExecRequest,
    },
    /// Agent, first message of an exec: it runs.
    Started,
    /// Agent, last message of an exec: it does not run.
    Refused {
        /// Why, in sentences.
        text: String,
    },
    /// Agent, last message: how it ended.
    Exit {
        /// 0 to 255; 128 plus the signal when killed.
        status: i32,
        /// In words.
        text: String,
    },
}

/// `GET /apps/:app/domains`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// How its automatic certificate stands: `pending`, `in-progress`, `cert issued`, `failing`, `failed`; null when
    /// there is none.
    pub acm_status: Option<String>,
    /// Why.
    pub acm_status_reason: Option<String>,
    /// The app.
    pub app: Ref,
    /// The name to point a CNAME record at; null for the app's own.
    pub cname: Option<String>,
    /// When added.
    pub created_at: String,
    /// The name. hokku: `*.example.com` and `example.com/path` too.
    pub hostname: String,
    /// The id, made of app and name.
    pub id: String,
    /// `heroku` for the name that the app has by itself, `custom` for others.
    pub kind: String,
    /// The certificate that is shown for it.
    pub sni_endpoint: Option<Ref>,
    /// `none` or `succeeded`: it takes effect at once.
    pub status: String,
    /// When last changed.
    pub updated_at: String,
}

/// `POST /apps/:app/domains`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateDomain {
    /// The name.
    pub hostname: String,
    /// Name or id of the certificate to show for it.
    #[serde(default)]
    pub sni_endpoint: Option<String>,
}

/// `PATCH /apps/:app/domains/:domain`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateDomain {
    /// Name or id of the certificate to show for it.
    #[serde(default)]
    pub sni_endpoint: Option<String>,
}

/// `GET /apps/:app/sni-endpoints`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SniEndpoint {
    /// The app.
    pub app: Ref,
    /// PEM, leaf first. The private key is never shown.
    pub certificate_chain: String,
    /// When first given.
    pub created_at: String,
    /// Always null here.
    pub display_name: Option<String>,
    /// Ids of the domains it is shown for.
    pub domains: Vec<String>,
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// What it says.
    pub ssl_cert: SslCert,
    /// When last replaced.
    pub updated_at: String,
    /// hokku: host names it is shown for.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// hokku: what may surprise; only in the answer to an upload.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// hokku: why the router can't use it.
    #[serde(default)]
    pub refused: Option<String>,
}

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SslCert {
    /// Got and renewed by the agent.
    pub acm: bool,
    /// Signed by somebody else.
    #[serde(rename = "ca_signed?")]
    pub ca_signed: bool,
    /// Names.
    pub cert_domains: Vec<String>,
    /// Valid until.
    pub expires_at: String,
    /// The id.
    pub id: String,
    /// Who signed.
    pub issuer: String,
    /// Signed by itself.
    #[serde(rename = "self_signed?")]
    pub self_signed: bool,
    /// Valid from.
    pub starts_at: String,
    /// For whom.
    pub subject: String,
    /// hokku: SHA-256 in hex.
    #[serde(default)]
    pub fingerprint: String,
}

/// `POST /apps/:app/sni-endpoints`, and `PATCH` of one.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CreateSniEndpoint {
    /// PEM.
    pub certificate_chain: String,
    /// PEM.
    pub private_key: String,
    /// hokku: only for these domains of the app; all that it covers when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

impl std::fmt::Debug for CreateSniEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateSniEndpoint")
            .field("domains", &self.domains)
            .finish_non_exhaustive()
    }
}

/// `GET /apps/:app/acm` (hokku)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acm {
    /// Does the agent get certificates for this app?
    pub acm: bool,
    /// Where from.
    pub directory: String,
    /// Has the operator agreed to that authority's terms?
    pub agreed: bool,
    /// The custom domains.
    pub domains: Vec<AcmDomain>,
}

/// One domain of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AcmDomain {
    /// The name.
    pub hostname: String,
    /// As [`Domain::acm_status`]; empty when it is off.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// When the certificate ends.
    pub expires_at: Option<String>,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// When the next attempt, or the renewal, is due.
    pub next_attempt_at: Option<String>,
}
