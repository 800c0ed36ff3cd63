//! A door with everything behind it in memory.

use std::{
    collections::{HashMap, HashSet},
    slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use alts_handshake::{Identity, SystemRandom};
use alts_request_auth::{Algorithm, Expected, KeySet, SigningKey, Token};
use alts_store::Revision;
use async_trait::async_trait;
use axum::{Router, body::Body, response::Response};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{Method, Request, StatusCode, header, service::Service};
use hyper_util::service::TowerToHyperService;
use nix::unistd::getuid;
use pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use crate::{
    attest::{Attested, Attestor, Caller, Selector, Workload, Workloads},
    audit,
    clock::{Clock, SystemClock},
    config::Address,
    handshaker::Attestation,
    policy::{Action, Key, Policy, Revocations, Sources},
    token::{
        door::{Door, Settings},
        http::{Entrance, Hosts, router},
        parts::{
            Context, Contexts, Issuers, Keys, Ledger, LedgerProblem, NoKey, Published, RevokedBy,
            SubjectProblem,
        },
        pattern::Pattern,
        rule::{Rule, Rules},
        subject::{Origin, Proof, Subject},
    },
    verifier::{Contact, Counts, State, Verifier},
};

pub(super) const NOW: u64 = 1_767_225_600;
pub(super) const US: &str = "https://tokens.example";
pub(super) const IDP: &str = "https://idp.example";
pub(super) const SHOP: &str = "https://shop.example";
pub(super) const BANK: &str = "https://bank.example";
pub(super) const GATEWAY: &str = "gateway@shop.example";
pub(super) const ORDERS: &str = "orders@shop.example";
pub(super) const ALICE: &str = "alice@shop.example";

pub(super) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(super) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
pub(super) const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(super) const LOCAL: &str = "urn:altsd:token-type:local-peer";
pub(super) const ALTS: &str = "urn:altsd:token-type:alts-context";

/// A time that the test moves.
pub(super) struct Moved(AtomicU64);

impl Moved {
    pub(super) fn by(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

/// One key.
pub(super) struct OneKey {
    key: SigningKey,
    published: Arc<Published>,
    pub(super) too_new: AtomicBool,
}

impl OneKey {
    fn new() -> Self {
        let (key, _) =
            SigningKey::generate(Algorithm::Es256, &SystemRandom::new()).expect("there is randomness");
        let published = Published {
            document: Bytes::from_static(b"{\"keys\":[]}"),
            etag: "\"one\"".to_owned(),
            keys: KeySet::of([key.public()]),
        };
        Self { key, published: Arc::new(published), too_new: AtomicBool::new(false) }
    }

    /// A token of this header and payload, both encoded.
    pub(super) fn resigned(&self, header: &str, payload: &str) -> String {
        let message = format!("{header}.{payload}");
        let signature = self.key.signature(message.as_bytes(), &SystemRandom::new()).expect("it signs");
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    pub(super) fn signed(&self, typ: &str, claims: &Value) -> String {
        self.key.sign(typ, claims.to_string().as_bytes(), &SystemRandom::new()).expect("it signs")
    }
}

impl Keys for OneKey {
    fn sign(&self, typ: &'static str, claims: &[u8]) -> Result<String, NoKey> {
        if self.too_new.load(Ordering::Relaxed) {
            return Err(NoKey::TooNew { seconds: 77 });
        }
        self.key.sign(typ, claims, &SystemRandom::new()).map_err(|error| NoKey::Unusable(error.to_string()))
    }

    fn published(&self) -> Arc<Published> {
        self.published.clone()
    }
}

/// What is revoked and used.
#[derive(Default)]
pub(super) struct Memory {
    tokens: Mutex<HashSet<(String, String)>>,
    subjects: Mutex<HashSet<(String, String)>>,
    used: Mutex<HashSet<(String, String)>>,
    pub(super) away: AtomicBool,
}

impl Memory {
    pub(super) fn revoke_subject(&self, iss: &str, sub: &str) {
        self.subjects.lock().expect("nobody panicked").insert((iss.to_owned(), sub.to_owned()));
    }

    fn is_there(&self) -> Result<(), LedgerProblem> {
        let away = self.away.load(Ordering::Relaxed);
        if away { Err(LedgerProblem::Away("somewhere secret".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Ledger for Memory {
    fn revoked(&self, iss: &str, id: Option<&str>, sub: &str) -> Result<Option<RevokedBy>, LedgerProblem> {
        self.is_there()?;
        let has = |set: &Mutex<HashSet<_>>, name: &str| {
            set.lock().expect("nobody panicked").contains(&(iss.to_owned(), name.to_owned()))
        };
        if id.is_some_and(|id| has(&self.tokens, id)) {
            return Ok(Some(RevokedBy::Token));
        }
        Ok(has(&self.subjects, sub).then_some(RevokedBy::Subject))
    }

    async fn revoke(&self, proof: &Proof) -> Result<(), LedgerProblem> {
        self.is_there()?;
        self.tokens.lock().expect("nobody panicked").insert((proof.iss.clone(), proof.id.clone()));
        Ok(())
    }

    async fn use_once(&self, proof: &Proof) -> Result<(), LedgerProblem> {
        self.is_there()?;
        let is_first =
            self.used.lock().expect("nobody panicked").insert((proof.iss.clone(), proof.id.clone()));
        if is_first { Ok(()) } else { Err(LedgerProblem::Used) }
    }
}

/// One other issuer.
pub(super) struct Idp {
    pub(super) key: OneKey,
    pub(super) away: AtomicBool,
}

impl Idp {
    /// A token about Alice, with these claims beside or instead.
    pub(super) fn token(&self, claims: Value) -> String {
        let mut all =
            json!({"iss": IDP, "sub": ALICE, "aud": US, "exp": NOW + 3_600, "iat": NOW, "jti": "one"});
        for (name, value) in claims.as_object().expect("claims are an object") {
            all[name] = value.clone();
        }
        self.key.signed("JWT", &all)
    }
}

#[async_trait]
impl Issuers for Idp {
    async fn verify(&self, token: &str, now: u64) -> Result<Subject, SubjectProblem> {
        if self.away.load(Ordering::Relaxed) {
            return Err(SubjectProblem::Unavailable("somewhere secret".to_owned()));
        }
        let audiences = [US.to_owned()];
        let expected = Expected { issuer: Some(IDP), audiences: &audiences, must_expire: true };
        let checked = Token::parse(token)
            .and_then(|token| token.check(&expected, &self.key.published.keys, now).map(|()| token));
        let token = checked
            .map_err(|error| SubjectProblem::Refused { reason: error.reason(), text: error.to_string() })?;
        let claims = token.claims();
        let read = |name: &str| claims.all().get(name).cloned();
        let sub = claims.subject().expect("tests give one").to_owned();
        let expires = claims.expires().expect("it must expire");
        let scope = read("scope").map(|scope| scope.as_str().expect("it is text").to_owned());
        Ok(Subject {
            origin: Origin::Issuer(IDP.to_owned()),
            issuer: IDP.to_owned(),
            // As if by a template.
            name: read("name").map_or(sub.clone(), |name| name.as_str().expect("it is text").to_owned()),
            sub,
            scopes: scope.map(|scope| scope.split(' ').map(str::to_owned).collect()),
            audiences: claims.audiences().to_vec(),
            expires: Some(expires),
            actor: read("act").map(|act| serde_json::from_value(act).expect("it is an actor")),
            may_act: read("may_act").map(|may| serde_json::from_value(may).expect("it is one")),
            proof: Some(Proof {
                iss: IDP.to_owned(),
                id: claims.id().expect("tests give one").to_owned(),
                expires,
            }),
        })
    }
}

/// Finished handshakes of this process.
#[derive(Default)]
pub(super) struct Handshakes(Mutex<HashMap<String, Context>>);

impl Handshakes {
    pub(super) fn put(&self, handle: &str, peer: &str, local: &str, expires: u64) {
        let peer = Identity::parse(peer).expect("it is an account");
        self.put_peer(handle, peer, local, expires);
    }

    pub(super) fn put_peer(&self, handle: &str, peer: Identity, local: &str, expires: u64) {
        let context = Context { peer, local: local.to_owned(), expires };
        self.0.lock().expect("nobody panicked").insert(handle.to_owned(), context);
    }
}

impl Contexts for Handshakes {
    fn find(&self, handle: &str, caller: &Attested, now: u64) -> Option<Context> {
        let is_caller = i32::try_from(std::process::id()).is_ok_and(|pid| caller.pids() == [pid]);
        let context = self.0.lock().expect("nobody panicked").get(handle).cloned();
        context.filter(|context| is_caller && now < context.expires)
    }
}

/// What a test has at hand.
pub(super) struct World {
    pub(super) clock: Arc<Moved>,
    pub(super) keys: Arc<OneKey>,
    pub(super) ledger: Arc<Memory>,
    pub(super) idp: Arc<Idp>,
    pub(super) handshakes: Arc<Handshakes>,
    pub(super) door: Arc<Door>,
}

/// How a world differs from the usual one.
pub(super) struct Setting {
    pub(super) rules: Vec<Rule>,
    /// Accounts of this process, which is no workload without any.
    pub(super) accounts: Vec<&'static str>,
    pub(super) revoked_account: Option<&'static str>,
    pub(super) contact: Contact,
}

impl Default for Setting {
    fn default() -> Self {
        let contact = Contact::None;
        Self { rules: vec![rule()], accounts: vec![GATEWAY, ORDERS], revoked_account: None, contact }
    }
}

/// Gives much to everybody of the shop.
pub(super) fn rule() -> Rule {
    let patterns = |text: &str| vec![Pattern::parse(text).expect("it is a pattern")];
    let all = || vec![Origin::Local, Origin::Alts, Origin::Own, Origin::Issuer(IDP.to_owned())];
    Rule {
        origins: all(),
        subjects: patterns("*@shop.example"),
        callers: Vec::new(),
        actors: patterns("*@shop.example"),
        actor_origins: all(),
        impersonation: true,
        audiences: strings(&[SHOP, BANK, US, GATEWAY, ORDERS, "urn:x:y"]),
        default_audience: Some(SHOP.to_owned()),
        many_audiences: true,
        scopes: strings(&["read", "write"]),
        drops_scopes: true,
        max_lifetime: 3_600,
        one_time: false,
    }
}

pub(super) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl World {
    pub(super) fn new() -> Self {
        Self::of(Setting::default())
    }

    pub(super) fn of(setting: Setting) -> Self {
        let clock = Arc::new(Moved(AtomicU64::new(NOW)));
        let (keys, ledger) = (Arc::new(OneKey::new()), Arc::new(Memory::default()));
        let idp = Arc::new(Idp { key: OneKey::new(), away: AtomicBool::new(false) });
        let handshakes = Arc::new(Handshakes::default());
        let workloads = workloads(&setting.accounts);
        let attestor = Attestor::new(&workloads, None, Arc::new(SystemClock)).expect("it needs no pods");
        let none = audit::Settings { output: audit::Output::None, queue_records: 1_000 };
        let (trail, _) = audit::start(&none, clock.clone()).expect("it starts");
        let door = Door {
            settings: Settings {
                issuer: US.to_owned(),
                lifetime: 600,
                max_lifetime: 900,
                algorithms: vec!["ES256"],
            },
            rules: Rules::new(setting.rules),
            keys: keys.clone(),
            ledger: ledger.clone(),
            issuers: idp.clone(),
            contexts: handshakes.clone(),
            attestation: Arc::new(Attestation { attestor, workloads }),
            verifier: Arc::new(verifier(setting.revoked_account, setting.contact, clock.clone())),
            trail: trail.clone(),
            clock: clock.clone(),
            random: Arc::new(SystemRandom::new()),
        };
        Self { clock, keys, ledger, idp, handshakes, door: Arc::new(door) }
    }

    /// A unix socket of the door, with this process at its other end.
    pub(super) fn unix(&self) -> Client {
        let (ours, theirs) = UnixStream::pair().expect("there is room");
        let caller = Caller::of_unix(&ours);
        let address = Address::Unix { path: "/run/altsd/token.sock".into(), mode: 0o666 };
        let router = self.router(&address, true);
        Client { router, caller: Some(caller), _connection: Some((ours, theirs)) }
    }

    /// A TCP listener of the door that does not attest.
    pub(super) fn tcp(&self) -> Client {
        let address = Address::Tcp("127.0.0.1:8081".parse().expect("it is an address"));
        Client::of(self.router(&address, false))
    }

    pub(super) fn router(&self, address: &Address, attests: bool) -> Router {
        let hosts = Hosts::of(address, &strings(&["Tokens.Internal", "Doors.Internal:8081"]), attests);
        router(self.door.clone(), Entrance { address: address.to_string().into(), attests, hosts })
    }

    /// The claims of a token of ours, which must be good.
    pub(super) fn claims(&self, token: &str) -> Value {
        let token = Token::parse(token).expect("it is a token");
        let expected = Expected { issuer: Some(US), audiences: &[], must_expire: true };
        token.check(&expected, &self.keys.published.keys, self.door.now()).expect("it is good");
        Value::Object(token.claims().all().clone())
    }

    /// An access token of ours about Alice for the gateway, with these claims beside or instead.
    pub(super) fn own(&self, claims: Value) -> String {
        let mut all = json!({"iss": US, "sub": ALICE, "aud": GATEWAY, "exp": NOW + 3_600, "iat": NOW, "nbf": NOW,
            "jti": "own", "client_id": ALICE, "scope": "read write"});
        for (name, value) in claims.as_object().expect("claims are an object") {
            all[name] = value.clone();
        }
        self.keys.signed("at+jwt", &all)
    }
}

fn workloads(accounts: &[&str]) -> Workloads {
    let identity = |account: &&str| Identity::parse(account).expect("it is an account");
    let identities: Vec<_> = accounts.iter().map(identity).collect();
    let selector = Selector::parse(&format!("uid:{}", getuid())).expect("it is a selector");
    let workload = (!identities.is_empty())
        .then(|| Workload::new(identities, [selector].into()).expect("it is a workload"));
    Workloads::new(workload.into_iter().collect()).expect("there is one at most")
}

fn verifier(revoked: Option<&str>, contact: Contact, clock: Arc<dyn Clock>) -> Verifier {
    let (files, stored) = (Arc::default(), Arc::default());
    let mut revocations = Revocations::default();
    if let Some(account) = revoked {
        let Ok(Key::Revocation(key)) = Key::parse(&format!("revocations/accounts/{account}")) else {
            panic!("{account} is no account");
        };
        revocations.put(&key, None);
    }
    let revocations = Arc::new(revocations);
    let sources = Sources { default: Action::Deny, files: &files, store: &stored, revocations: &revocations };
    let state = State {
        policy: Arc::new(Policy::compile(sources, None)),
        files,
        stored,
        revision: Revision(1),
        contact,
        away: None,
        copy_problem: None,
        file_states: Arc::new([]),
        foreign_keys: 0,
        counts: Counts::default(),
        changed_at: NOW,
    };
    Verifier::new(state, None, clock)
}

/// A program at the door.
pub(super) struct Client {
    router: Router,
    pub(super) caller: Option<Caller>,
    _connection: Option<(UnixStream, UnixStream)>,
}

/// What it was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|problem| panic!("{problem}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("it is text"))
    }

    /// Status, `error`, and the reason that the description begins with.
    pub(super) fn refusal(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        let description = text("error_description");
        let is_fine = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        assert!(description.bytes().all(is_fine), "{description}");
        let reason = description.split(':').next().unwrap_or_default().to_owned();
        (self.status.as_u16(), text("error"), reason)
    }

    /// The token of a good answer.
    pub(super) fn token(&self) -> String {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()["access_token"].as_str().expect("it is text").to_owned()
    }
}

impl Client {
    /// One of whom nothing is known.
    pub(super) fn of(router: Router) -> Self {
        Self { router, caller: None, _connection: None }
    }

    /// Any request. On a unix socket and elsewhere the host is `localhost`, if none is given.
    pub(super) async fn send(&self, request: hyper::http::request::Builder, body: impl Into<Body>) -> Answer {
        let mut request: Request<Body> = request.body(body.into()).expect("it is a request");
        if !request.headers().contains_key(header::HOST) {
            request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
        }
        request.extensions_mut().extend(
            self.caller
                .clone()
                .map(|caller| {
                    let mut extensions = hyper::http::Extensions::new();
                    extensions.insert(caller);
                    extensions
                })
                .unwrap_or_default(),
        );
        let served = TowerToHyperService::new(self.router.clone()).call(request).await;
        let Ok(response): Result<Response, _> = served;
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("it is whole").to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    pub(super) async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, kind);
        self.send(request, body).await
    }

    /// A form.
    pub(super) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.post(path, "application/x-www-form-urlencoded", form(pairs)).await
    }

    /// A request for a token with these parameters, and the grant type.
    pub(super) async fn exchange(&self, pairs: &[(&str, &str)]) -> Answer {
        self.form("/token", &[slice::from_ref(&("grant_type", EXCHANGE)), pairs].concat()).await
    }
}

/// The text of a form, each byte escaped that may have to be.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let escaped = |text: &str| {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect::<Vec<_>>()
        .join("&")
}
