//! The admin socket, asked over a real socket.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use alts_handshake::{Authority, CertificateFacts, CertificateInfo, Identity, SystemRandom};
use alts_proto::altsd::{
    Certificate, GetCertificateRequest, ListCertificatesRequest, RotateCertificateRequest,
    TailRecordsRequest,
    audit_client::AuditClient,
    certificate::{self, State},
    certificates_client::CertificatesClient,
};
use alts_store::Revision;
use nix::unistd::geteuid;
use pki_types::{CertificateDer, UnixTime, pem::PemObject};
use tempfile::TempDir;
use tokio::{net::UnixListener, task::JoinHandle};
use tonic::{
    Code,
    service::Routes,
    transport::{Channel, Endpoint},
};

use super::*;
use crate::{
    audit::Output,
    clock::SystemClock,
    identity::{
        Origin,
        keeper::{Issued, Keeper, POLL, Parts, RotateError, Status, TrustSettings},
        signing::SigningService,
    },
    metrics::Metrics,
    policy::{Action, Policy, Resources, Revocations, Sources},
    verifier::{Contact, Counts, State as Decided, Verifier},
};

pub(crate) mod keys_world;
mod node;
mod policy;
mod revocations;
mod signing_keys;
mod token_revocations;
pub(crate) mod world;

const NOW: u64 = 1_767_225_600;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(NOW))
    }

    #[expect(clippy::disallowed_methods, reason = "no test reads it")]
    fn monotonic(&self) -> std::time::Instant {
        std::time::Instant::now()
    }
}

/// So many identities, whose certificates are issued as often as they are asked for.
struct Fake {
    accounts: Vec<String>,
}

impl Fake {
    fn with(accounts: impl IntoIterator<Item = String>) -> Self {
        Self { accounts: accounts.into_iter().collect() }
    }

    fn one(account: &str) -> Status {
        let info = CertificateInfo {
            facts: CertificateFacts {
                serial: "01".to_owned(),
                subject: format!("CN={account}"),
                issuer: "CN=node".to_owned(),
                sha256: [0; 32],
                key_sha256: [1; 32],
            },
            not_before: NOW,
            not_after: NOW + 3_600,
            key: "P-256",
            chain_len: 2,
        };
        Status {
            identity: Identity::parse(account).expect("it is valid"),
            origin: Origin::SigningService,
            certificate: Some(info),
            not_after: Some(NOW + 3_600),
            renew_at: None,
            failure: None,
        }
    }
}

#[tonic::async_trait]
impl Certificates for Fake {
    fn status(&self) -> Vec<Status> {
        self.accounts.iter().map(|account| Self::one(account)).collect()
    }

    fn chain(&self, account: &str) -> Option<Vec<Vec<u8>>> {
        Some(vec![account.as_bytes().to_vec()])
    }

    async fn rotate(&self, account: &str) -> Result<Status, RotateError> {
        if !self.accounts.iter().any(|known| known == account) {
            return Err(RotateError::Unknown { account: account.to_owned() });
        }
        if account.starts_with("down@") {
            let (account, problem) = (account.to_owned(), "é".repeat(9_000));
            return Err(RotateError::Failed { account, problem });
        }
        Ok(Self::one(account))
    }
}

/// A trail to which nothing comes, and that can be watched no longer.
fn unwatched() -> (Trail, watch::Receiver<()>) {
    let none = crate::audit::Settings { output: Output::None, queue_records: 1 };
    let (trail, _) = crate::audit::start(&none, Arc::new(SystemClock)).expect("it starts");
    (trail, watch::channel(()).1)
}

/// A served admin socket, which ends with its test.
pub(crate) struct Admin {
    directory: TempDir,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Admin {
    fn serve(fake: Fake) -> Self {
        Self::of_services(services_of(fake, nobody_else()))
    }

    fn of_services(services: Routes) -> Self {
        Self::open(services, |path| Settings {
            address: Address::Unix { path, mode: 0o666 },
            uids: Vec::new(),
        })
    }

    fn open(services: Routes, settings: impl FnOnce(PathBuf) -> Settings) -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let settings = settings(directory.path().join("admin.sock"));
        let listener = open(&settings).expect("it can be opened");
        let limits = limits(&operators(&settings));
        let serving = tokio::spawn(listener.serve(services, limits, std::future::pending()));
        Self { directory, serving }
    }

    pub(crate) fn of(accounts: &[&str]) -> Self {
        Self::serve(Fake::with(accounts.iter().map(|account| (*account).to_owned())))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    async fn client(&self) -> CertificatesClient<Channel> {
        client(&self.socket()).await
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What a node serves that keeps no decisions and has no documents.
fn services_of(fake: Fake, operators: Operators) -> Routes {
    let (files, stored, revocations) = <(Arc<Resources>, Arc<Resources>, Arc<Revocations>)>::default();
    let sources =
        Sources { default: Action::Allow, files: &files, store: &stored, revocations: &revocations };
    let state = Decided {
        policy: Arc::new(Policy::compile(sources, None)),
        files: files.clone(),
        stored: stored.clone(),
        revision: Revision(0),
        contact: Contact::None,
        away: None,
        copy_problem: None,
        file_states: Arc::new([]),
        foreign_keys: 0,
        counts: Counts::default(),
        changed_at: NOW,
    };
    let parts = world::parts(Arc::new(Verifier::new(state, None, Arc::new(Stopped))), None, fake);
    services(super::Parts { operators, ..parts })
}

fn nobody_else() -> Operators {
    Operators::new(geteuid().as_raw(), &[])
}

async fn client(socket: &Path) -> CertificatesClient<Channel> {
    CertificatesClient::new(channel(socket).await)
}

async fn channel(socket: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).expect("it is an address");
    endpoint.connect().await.expect("it is served")
}

fn list(page_size: i32, page_token: &str) -> ListCertificatesRequest {
    ListCertificatesRequest { page_size, page_token: page_token.to_owned() }
}

fn get(name: &str) -> GetCertificateRequest {
    GetCertificateRequest { name: name.to_owned() }
}

fn names(certificates: &[Certificate]) -> Vec<&str> {
    certificates.iter().map(|certificate| &*certificate.name).collect()
}

#[tokio::test]
async fn the_socket_is_its_owners_alone_whatever_the_address_says() {
    let admin = Admin::of(&[]);
    let mode = std::fs::metadata(admin.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_tcp_address_is_none_for_operators() {
    let address = Address::parse("127.0.0.1:1").expect("it is an address");
    let Err(error) = open(&Settings { address, uids: Vec::new() }) else { panic!("it must not open") };
    assert!(error.to_string().contains("127.0.0.1:1 cannot be the admin address"), "{error}");
}

#[tokio::test]
async fn certificates_are_listed_in_order_and_without_their_chains() {
    let admin = Admin::of(&["b@x.example", "a@x.example", "spiffe://x.example/c"]);
    let answer = admin.client().await.list_certificates(list(0, "")).await.expect("it is allowed");
    let answer = answer.into_inner();
    let expected =
        ["certificates/a@x.example", "certificates/b@x.example", "certificates/spiffe://x.example/c"];
    assert_eq!((names(&answer.certificates), &*answer.next_page_token), (expected.to_vec(), ""));
    assert!(answer.certificates.iter().all(|certificate| certificate.chain_pem.is_empty()));
}

#[tokio::test]
async fn pages_together_are_the_whole_list() {
    let accounts: Vec<_> = (0..1_201).map(|number| format!("w{number:04}@x.example")).collect();
    let admin = Admin::serve(Fake::with(accounts.clone()));
    let mut client = admin.client().await;
    for (size, pages) in [(0, vec![100; 12]), (7, vec![7; 171]), (601, vec![601]), (5_000, vec![1_000])] {
        let (mut token, mut found, mut sizes) = (String::new(), Vec::new(), Vec::new());
        loop {
            let page =
                client.list_certificates(list(size, &token)).await.expect("it is allowed").into_inner();
            found.extend(page.certificates.iter().map(|certificate| certificate.account.clone()));
            if page.next_page_token.is_empty() {
                break;
            }
            sizes.push(page.certificates.len());
            token = page.next_page_token;
        }
        assert_eq!((&found, sizes), (&accounts, pages), "{size}");
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let admin = Admin::of(&["a@x.example"]);
    let mut client = admin.client().await;
    for (request, reason) in [
        (list(-1, ""), "page_size_invalid"),
        (list(i32::MIN, ""), "page_size_invalid"),
        (list(0, "a@x.example"), "page_token_invalid"),
        (list(0, "2"), "page_token_invalid"),
    ] {
        let status = client.list_certificates(request).await.expect_err("it must be refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(&format!("{reason}: ")), "{}", status.message());
    }
}

#[tokio::test]
async fn a_page_after_one_that_is_gone_goes_on_behind_it() {
    let admin = Admin::of(&["a@x.example", "c@x.example"]);
    let answer = admin.client().await.list_certificates(list(0, "certificates/b@x.example")).await;
    let answer = answer.expect("it is allowed").into_inner();
    assert_eq!(names(&answer.certificates), ["certificates/c@x.example"]);
}

#[tokio::test]
async fn one_certificate_has_its_chain() {
    let admin = Admin::of(&["a@x.example", "b@x.example"]);
    let answer = admin.client().await.get_certificate(get("certificates/b@X.example")).await;
    let certificate = answer.expect("it is known").into_inner();
    let chain = resource::chain_pem(&[b"b@x.example".to_vec()]);
    assert_eq!((&*certificate.account, certificate.chain_pem), ("b@x.example", chain));
}

#[tokio::test]
async fn an_unknown_name_is_not_found_and_told_the_way_out() {
    let admin = Admin::of(&["a@x.example"]);
    let mut client = admin.client().await;
    let name = "certificates/b@x.example".to_owned();
    let got = client.get_certificate(get(&name)).await.expect_err("it is unknown");
    let rotated = client.rotate_certificate(RotateCertificateRequest { name }).await.expect_err("so it is");
    for status in [got, rotated] {
        assert_eq!(status.code(), Code::NotFound);
        let text = status.message();
        assert!(text.starts_with("certificate_unknown: b@x.example is no identity of this node"), "{text}");
        assert!(text.contains("altsd certs list"), "{text}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_is_an_invalid_argument() {
    let admin = Admin::of(&["a@x.example"]);
    let mut client = admin.client().await;
    let long = format!("certificates/spiffe://x.example/{}", "x".repeat(2_048));
    for name in ["", "a@x.example", "certificates/", "certificates/\n", &long] {
        let status = client.get_certificate(get(name)).await.expect_err("it must be refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert!(status.message().starts_with("name_invalid: "), "{}", status.message());
    }
}

#[tokio::test]
async fn a_request_of_more_bytes_than_a_name_has_is_refused() {
    let admin = Admin::of(&["a@x.example"]);
    let status = admin.client().await.get_certificate(get(&"x".repeat(16 << 10))).await;
    assert_eq!(status.expect_err("it is too large").code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_rotation_answers_with_the_new_certificate() {
    let admin = Admin::of(&["a@x.example"]);
    let request = RotateCertificateRequest { name: "certificates/a@x.example".to_owned() };
    let answer = admin.client().await.rotate_certificate(request).await.expect("it can be had");
    assert_eq!(answer.into_inner().name, "certificates/a@x.example");
}

#[tokio::test]
async fn a_rotation_that_fails_is_unavailable_and_says_why_within_bounds() {
    let admin = Admin::of(&["down@x.example"]);
    let request = RotateCertificateRequest { name: "certificates/down@x.example".to_owned() };
    let status = admin.client().await.rotate_certificate(request).await.expect_err("there is none");
    assert_eq!(status.code(), Code::Unavailable);
    let text = status.message();
    assert!(text.starts_with("rotation_failed: down@x.example was not renewed: é"), "{text}");
    assert!(text.len() < 5_000, "{}", text.len());
}

/// A keeper of two identities, whose certificates a signing service in memory makes.
async fn keeper() -> Kept {
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    let authority = Authority::parse("x.example").expect("it is valid");
    let lifetime = Duration::from_secs(3_600);
    let service = SigningService::in_memory(vec![authority], lifetime, clock.now(), random.clone());
    let service = Arc::new(service.expect("it needs nothing"));
    let issued = |account, at_start| Issued {
        identity: Identity::parse(account).expect("it is valid"),
        source: service.clone(),
        at_start,
    };
    let trust = TrustSettings { files: Vec::new(), fixed: service.roots(), skew_allowance: Duration::ZERO };
    let (keeper, current) = Keeper::start(Parts {
        clock,
        random,
        observer: Arc::new(Metrics),
        trust,
        files: Vec::new(),
        issued: vec![issued("a@x.example", true), issued("b@x.example", false)],
        poll: POLL,
    })
    .expect("there is no file to be wrong");
    keeper.ready().wait_for(|ready| *ready).await.expect("it goes on");
    Kept { keeper, current }
}

/// A certificate, and what names it.
pub(crate) struct Named {
    pub(crate) pem: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) key_sha256: String,
}

/// One that a signing service has made, as its keeper tells of it.
pub(crate) async fn certificate_pem() -> Named {
    let kept = keeper().await;
    let status = kept.status().remove(0);
    let chain = kept.chain(status.identity.account()).expect("it is made at the start");
    let facts = status.certificate.expect("it is made at the start").facts;
    let (issuer, serial) = (facts.issuer, facts.serial);
    Named { pem: resource::chain_pem(&chain), issuer, serial, key_sha256: hex::encode(facts.key_sha256) }
}

#[tokio::test]
async fn the_keeper_of_the_node_is_asked_and_renews() {
    let kept = keeper().await;
    let directory = tempfile::tempdir().expect("there is room");
    let (verifier, _, _) = world::verifier(None, world::documents(&directory, "")).await;
    let parts = world::parts(verifier, None, Fake::with([]));
    let parts = super::Parts { certificates: Arc::new(kept), clock: Arc::new(SystemClock), ..parts };
    let admin = Admin::of_services(services(parts));
    let mut client = admin.client().await;
    let listed = client.list_certificates(list(0, "")).await.expect("it is allowed").into_inner();
    let states: Vec<_> =
        listed.certificates.iter().map(|certificate| (&*certificate.account, certificate.state())).collect();
    assert_eq!(states, [("a@x.example", State::Valid), ("b@x.example", State::NotRequested)]);

    let name = || "certificates/a@x.example".to_owned();
    let before = client.get_certificate(get(&name())).await.expect("it is known").into_inner();
    assert_eq!(before.origin(), certificate::Origin::SigningService);
    let chain = CertificateDer::pem_slice_iter(before.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    assert_eq!(chain.expect("it is PEM").len() as u32, before.chain_length);
    let request = RotateCertificateRequest { name: name() };
    let rotated = client.rotate_certificate(request).await.expect("it can be made").into_inner();
    assert_ne!(rotated.serial_number, before.serial_number);
    let after = client.get_certificate(get(&name())).await.expect("it is known").into_inner();
    assert_eq!(after, rotated);
    assert_ne!(after.chain_pem, before.chain_pem);
}

const NOBODY: u32 = 65_534;

/// A connection to this socket that another user has made: the kernel tells of a connection which user its maker was
/// at that time. Nothing, if this is not root, who alone can be another.
fn connect_as_nobody(admin: &Admin) -> Option<tokio::net::UnixStream> {
    if !geteuid().is_root() {
        println!("skipped: only root can become another user");
        return None;
    }
    let open_to_all = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    open_to_all(admin.directory.path(), 0o755);
    open_to_all(&admin.socket(), 0o666);
    let socket = admin.socket();
    // Of this one thread alone, which ends with it.
    let connect = move || {
        let nobody = rustix::process::Uid::from_raw(NOBODY);
        rustix::thread::set_thread_uid(nobody).expect("root may");
        std::os::unix::net::UnixStream::connect(socket).expect("everybody may connect")
    };
    let foreign = thread::spawn(connect).join().expect("it does not panic");
    foreign.set_nonblocking(true).expect("a socket can be");
    Some(tokio::net::UnixStream::from_std(foreign).expect("it is a socket"))
}

#[tokio::test]
async fn the_connection_of_another_user_is_closed_before_a_byte_of_it_is_read() {
    let admin = Admin::of(&["a@x.example"]);
    let Some(mut foreign) = connect_as_nobody(&admin) else { return };
    let mut told = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut foreign, &mut told).await.expect("it is closed");
    assert_eq!(told, b"");
    admin.client().await.list_certificates(list(0, "")).await.expect("its owner is served all the same");
}

#[tokio::test]
async fn a_user_whom_the_configuration_names_is_served() {
    let settings = |path| Settings { address: Address::Unix { path, mode: 0o600 }, uids: vec![NOBODY] };
    let fake = Fake::with(["a@x.example".to_owned()]);
    let operators = Operators::new(geteuid().as_raw(), &[NOBODY]);
    let admin = Admin::open(services_of(fake, operators), settings);
    let mode = std::fs::metadata(admin.socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let Some(foreign) = connect_as_nobody(&admin) else { return };
    let (channel, relay) = channel_over(&admin, foreign).await;
    let mut client = CertificatesClient::new(channel);
    let listed = client.list_certificates(list(0, "")).await.expect("it is served");
    assert_eq!(names(&listed.into_inner().certificates), ["certificates/a@x.example"]);
    relay.abort();
}

#[tokio::test]
async fn every_service_asks_of_each_request_who_sends_it() {
    let admin = open_to_all(nobody_else()).await;
    let Some(foreign) = connect_as_nobody(&admin) else { return };
    let (channel, relay) = channel_over(&admin, foreign).await;
    let listed = CertificatesClient::new(channel.clone()).list_certificates(list(0, "")).await;
    assert_eq!(listed.expect_err("it is refused").code(), Code::PermissionDenied);
    let tail = AuditClient::new(channel).tail_records(TailRecordsRequest::default()).await;
    assert_eq!(tail.expect_err("it is refused").code(), Code::PermissionDenied);
    relay.abort();
}

/// A socket on which anybody may connect, with services for operators alone.
async fn open_to_all(operators: Operators) -> Admin {
    let settings = |path| Settings { address: Address::Unix { path, mode: 0o600 }, uids: vec![NOBODY] };
    Admin::open(services_of(Fake::with([]), operators), settings)
}

/// A channel over a connection that is there already.
async fn channel_over(admin: &Admin, mut foreign: tokio::net::UnixStream) -> (Channel, JoinHandle<()>) {
    let between = admin.directory.path().join("between.sock");
    let listener = UnixListener::bind(&between).expect("there is room");
    let relay = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("the client connects");
        let _ = tokio::io::copy_bidirectional(&mut near, &mut foreign).await;
    });
    (channel(&between).await, relay)
}
