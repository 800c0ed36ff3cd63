//! `altsd revoke`: what is no longer trusted, for operators.

use std::path::{Path, PathBuf};

use alts_proto::{
    Timestamp,
    altsd::{
        CreateRevocationRequest, DeleteRevocationRequest, ListRevocationsRequest, Revocation,
        RevokedCertificate, revocation::Subject, revocations_client::RevocationsClient,
    },
};
use serde::Serialize;
use tonic::transport::Channel;

use self::view::View;
use super::{
    client::{self, Asking, Daemon},
    output, pem,
    policy::Deleted,
    when,
};

mod view;

/// Revoke an account, a certificate or a key, on every node that shares the store
///
/// What is revoked is refused in every handshake from the next one on, whatever the rules say; connections that are
/// open stay open.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd revoke account batch@prod.example.com --reason 'its machine was stolen'
  altsd revoke certificate --pem leaf.pem --reason 'key in a public bucket' --for 7d
  altsd revoke key 8a3f0c1d2e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef --reason 'weak key'
  altsd revoke account batch@prod.example.com --reason 'it is rebuilt' --for 7d --replace
  altsd revoke list
  altsd revoke undo accounts/batch@prod.example.com";

#[derive(clap::Subcommand)]
enum Command {
    /// Revoke everybody who has this account
    #[command(
        after_long_help = "Examples:\n  altsd revoke account batch@prod.example.com --reason 'its machine was stolen'\n  altsd revoke account spiffe://prod.example.com/batch --reason 'until it is rebuilt' --expires 2026-12-31T00:00:00Z"
    )]
    Account {
        /// The account, such as orders@prod.example.com or spiffe://prod.example.com/orders
        account: String,
        #[command(flatten)]
        terms: Terms,
    },
    /// Revoke a certificate, in every chain that holds it: of an authority, all that it issued
    #[command(
        after_long_help = "Examples:\n  altsd revoke certificate --pem leaf.pem --reason 'lost'\n  altsd revoke certificate --issuer 'CN=prod root' --serial 0a1b --reason 'lost'"
    )]
    Certificate {
        /// Its issuer, as `altsd certs show` prints it
        #[arg(long, value_name = "NAME", requires = "serial", required_unless_present = "pem")]
        issuer: Option<String>,
        /// Its serial number in hexadecimal
        #[arg(long, value_name = "HEX", requires = "issuer")]
        serial: Option<String>,
        /// A file in PEM to take both from: its first certificate
        #[arg(long, value_name = "FILE", conflicts_with_all = ["issuer", "serial"])]
        pem: Option<PathBuf>,
        #[command(flatten)]
        terms: Terms,
    },
    /// Revoke a key, in every chain that holds it
    #[command(
        after_long_help = "Examples:\n  altsd revoke key 8a3f0c1d2e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef --reason 'weak key'\n  altsd revoke key --pem leaf.pem --reason 'copied'"
    )]
    Key {
        /// SHA-256 of its SubjectPublicKeyInfo, as `altsd certs show` prints it
        #[arg(required_unless_present = "pem")]
        sha256: Option<String>,
        /// A file in PEM to take it from: its first certificate
        #[arg(long, value_name = "FILE", conflicts_with = "sha256")]
        pem: Option<PathBuf>,
        #[command(flatten)]
        terms: Terms,
    },
    /// List revocations
    ///
    /// States: active (this node refuses by it), pending (the store has it, this node does not refuse by it yet),
    /// expired, unreadable (what its name says is refused).
    #[command(after_long_help = "Examples:\n  altsd revoke list\n  altsd revoke list --output json")]
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Take a revocation back
    #[command(after_long_help = "Examples:\n  altsd revoke undo accounts/batch@prod.example.com")]
    Undo {
        /// Its name, as `altsd revoke list` prints it
        name: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Why, and until when.
#[derive(clap::Args)]
struct Terms {
    /// Why: it stands in logs, and in what the refused program is told
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// When it ends, such as 2026-12-31T00:00:00Z; for good, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = when::parse_time)]
    expires: Option<u64>,
    /// How long it lasts, such as 36h or 7d
    #[arg(long = "for", value_name = "SPAN", value_parser = when::parse_span, conflicts_with = "expires")]
    span: Option<u64>,
    /// If it is revoked already, change its reason and end to these; it stays revoked all the time
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    asking: Asking,
}

/// Why a command about revocations failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Asked(#[from] client::Error),
    #[error("{file} cannot be read: {problem}")]
    File { file: PathBuf, problem: String },
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

pub(super) async fn run(args: Args, now: u64) -> Result<(), Error> {
    match args.command {
        Command::Account { account, terms } => revoke(Subject::Account(account), terms, now).await,
        Command::Certificate { issuer, serial, pem, terms } => {
            let certificate = match pem {
                Some(file) => {
                    let leaf = leaf(&file)?;
                    RevokedCertificate { issuer: leaf.issuer, serial_number: leaf.serial }
                }
                // Both are required where there is no file.
                None => RevokedCertificate {
                    issuer: issuer.unwrap_or_default(),
                    serial_number: serial.unwrap_or_default(),
                },
            };
            revoke(Subject::Certificate(certificate), terms, now).await
        }
        Command::Key { sha256, pem, terms } => {
            let key = match pem {
                Some(file) => hex::encode(leaf(&file)?.key_sha256),
                None => sha256.unwrap_or_default(),
            };
            revoke(Subject::KeySha256(key), terms, now).await
        }
        Command::List { asking } => list(&asking).await,
        Command::Undo { name, asking } => undo(&name, &asking).await,
    }
}

fn leaf(file: &Path) -> Result<alts_handshake::CertificateFacts, Error> {
    let refused = |problem| Error::File { file: file.to_owned(), problem };
    let mut certificates = pem::certificates(file).map_err(refused)?.into_iter();
    certificates.next().ok_or_else(|| refused("it has no certificate".to_owned()))
}

async fn revoke(subject: Subject, terms: Terms, now: u64) -> Result<(), Error> {
    let Terms { reason, expires, span, replace, asking } = terms;
    let end = expires.or(span.map(|span| now.saturating_add(span)));
    let expire_time = end.map(|end| Timestamp { seconds: i64::try_from(end).unwrap_or(i64::MAX), nanos: 0 });
    let revocation = Revocation { subject: Some(subject), reason, expire_time, ..Revocation::default() };
    let (daemon, mut client) = open(&asking).await?;
    let request = CreateRevocationRequest { revocation: Some(revocation), allow_existing: replace };
    let view = View::from(daemon.ask(client.create_revocation(request)).await?);
    Ok(output::print(asking.output, || view::details(&view), &view)?)
}

async fn list(asking: &Asking) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Listed {
        revocations: Vec<View>,
    }
    let (daemon, mut client) = open(asking).await?;
    let (mut revocations, mut page_token) = (Vec::new(), String::new());
    loop {
        let call = client.list_revocations(ListRevocationsRequest { page_size: client::PAGE, page_token });
        let page = daemon.ask(call).await?;
        revocations.extend(page.revocations.into_iter().map(View::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let listed = Listed { revocations };
    Ok(output::print(asking.output, || view::list(&listed.revocations), &listed)?)
}

async fn undo(name: &str, asking: &Asking) -> Result<(), Error> {
    let (daemon, mut client) = open(asking).await?;
    let name = format!("{}{}", view::COLLECTION, name.strip_prefix(view::COLLECTION).unwrap_or(name));
    let request = DeleteRevocationRequest { name: name.clone(), revision: 0, allow_missing: false };
    let deleted = daemon.ask(client.delete_revocation(request)).await?;
    let deleted = Deleted { name, revision: deleted.revision, applied: deleted.applied };
    Ok(output::print(asking.output, || deleted.text(), &deleted)?)
}

async fn open(asking: &Asking) -> Result<(Daemon<'_>, RevocationsClient<Channel>), Error> {
    let daemon = Daemon::of(asking).await?;
    let client = RevocationsClient::new(daemon.channel.clone());
    Ok((daemon, client))
}

#[cfg(test)]
mod tests;
