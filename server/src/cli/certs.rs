//! `altsd certs`: the certificates of a running daemon, for its operator.

use std::time::Duration;

use alts_proto::altsd::{
    Certificate, GetCertificateRequest, ListCertificatesRequest, RotateCertificateRequest,
    certificates_client::CertificatesClient,
};
use serde::Serialize;
use tonic::{Status, transport::Channel};

use self::view::View;
use super::{
    client,
    output::{self, Format},
};

mod view;

/// Show and renew the certificates of a running altsd
///
/// Asks over the admin socket, which answers only root and the user that altsd runs as. The daemon opens it if its
/// configuration has a section [admin].
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd certs list
  altsd certs show orders@prod.example.com
  altsd certs rotate --all
  altsd certs list --output json | jq -r '.certificates[] | select(.state != \"valid\").account'";

#[derive(clap::Subcommand)]
enum Command {
    /// List the identities of the node and how their certificates stand
    ///
    /// States: not_requested (no handshake has needed it yet), valid, renewal_failing (the last attempt to get one
    /// failed; handshakes go on with the old one), expired (handshakes are refused).
    #[command(after_long_help = "Examples:\n  altsd certs list\n  altsd certs list --output json")]
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Show the certificate of one identity
    #[command(after_long_help = "Examples:\n  altsd certs show orders@prod.example.com\n  \
                                 altsd certs show orders@prod.example.com --pem | openssl x509 -noout -text")]
    Show {
        /// The account, such as orders@prod.example.com or spiffe://prod.example.com/orders
        account: String,
        /// Print the chain alone, in PEM
        #[arg(long, conflicts_with = "output")]
        pem: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Get new certificates now
    ///
    /// Handshakes in progress keep the one they began with. If there is no new one to be had, the old one stays, and
    /// the exit code is 1.
    #[command(
        after_long_help = "Examples:\n  altsd certs rotate orders@prod.example.com\n  altsd certs rotate --all"
    )]
    Rotate {
        /// The account
        #[arg(required_unless_present = "all")]
        account: Option<String>,
        /// Those of all identities
        #[arg(long, conflicts_with = "account")]
        all: bool,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Whom to ask, and how to print the answer.
#[derive(clap::Args)]
struct Asking {
    /// The admin socket
    #[arg(long, value_name = "ADDR", env = "ALTSD_ADMIN", default_value = "unix:/run/altsd/admin.sock")]
    admin: String,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_seconds: u64,
    /// Form of the result
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    output: Format,
}

/// Why a command about certificates failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unreachable(#[from] client::Error),
    #[error("altsd at {address} refuses: {problem}")]
    Refused { address: String, problem: String },
    #[error("{failed} of {all} certificates are not renewed; the first: {problem}")]
    NotRotated { failed: usize, all: usize, problem: String },
    #[error("{account} has no certificate yet; `altsd certs rotate {account}` gets one")]
    NoChain { account: String },
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::List { asking } => list(&asking).await,
        Command::Show { account, pem, asking } => show(&asking, &account, pem).await,
        Command::Rotate { account, asking, .. } => rotate(&asking, account).await,
    }
}

async fn list(asking: &Asking) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Listed {
        certificates: Vec<View>,
    }
    let certificates = Session::open(asking).await?.all().await?;
    let listed = Listed { certificates: certificates.into_iter().map(View::from).collect() };
    Ok(output::print(asking.output, || view::list(&listed.certificates), &listed)?)
}

async fn show(asking: &Asking, account: &str, pem: bool) -> Result<(), Error> {
    let view = View::from(Session::open(asking).await?.get(account).await?);
    if pem {
        let chain = view.chain_pem().ok_or_else(|| Error::NoChain { account: account.to_owned() })?;
        return Ok(output::print(Format::Text, || chain.to_owned(), &())?);
    }
    Ok(output::print(asking.output, || view::details(&view), &view)?)
}

async fn rotate(asking: &Asking, account: Option<String>) -> Result<(), Error> {
    let mut session = Session::open(asking).await?;
    let accounts = match account {
        Some(account) => vec![account],
        None => session.all().await?.into_iter().map(|certificate| certificate.account).collect(),
    };
    let mut rotated = Rotated::default();
    for account in &accounts {
        match session.rotate(account).await? {
            Ok(certificate) => rotated.rotated.push(certificate.into()),
            Err(status) => {
                let failed = NotRotated { account: account.clone(), problem: said(&status) };
                rotated.failed.push(failed);
            }
        }
    }
    let table = || if rotated.rotated.is_empty() { String::new() } else { view::list(&rotated.rotated) };
    output::print(asking.output, table, &rotated)?;
    match rotated.failed.first() {
        None => Ok(()),
        Some(first) => {
            let (failed, problem) = (rotated.failed.len(), first.problem.clone());
            Err(Error::NotRotated { failed, all: accounts.len(), problem })
        }
    }
}

/// What `rotate` prints in JSON.
#[derive(Default, Serialize)]
struct Rotated {
    rotated: Vec<View>,
    failed: Vec<NotRotated>,
}

#[derive(Serialize)]
struct NotRotated {
    account: String,
    problem: String,
}

/// A connection to an admin socket.
struct Session<'a> {
    asking: &'a Asking,
    timeout: Duration,
    client: CertificatesClient<Channel>,
}

impl<'a> Session<'a> {
    async fn open(asking: &'a Asking) -> Result<Self, Error> {
        let timeout = Duration::from_secs(asking.timeout_seconds);
        let channel = client::admin(&asking.admin, timeout).await?;
        Ok(Self { asking, timeout, client: CertificatesClient::new(channel) })
    }

    /// All pages.
    async fn all(&mut self) -> Result<Vec<Certificate>, Error> {
        let mut certificates = Vec::new();
        let mut page_token = String::new();
        loop {
            let call = self.client.list_certificates(ListCertificatesRequest { page_size: 0, page_token });
            let page = client::answer(call, &self.asking.admin, self.timeout).await?;
            let page = page.map_err(|status| self.refused(&status))?;
            certificates.extend(page.certificates);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(certificates);
            }
        }
    }

    async fn get(&mut self, account: &str) -> Result<Certificate, Error> {
        let call = self.client.get_certificate(GetCertificateRequest { name: name(account) });
        let certificate = client::answer(call, &self.asking.admin, self.timeout).await?;
        certificate.map_err(|status| self.refused(&status))
    }

    async fn rotate(&mut self, account: &str) -> Result<Result<Certificate, Status>, Error> {
        let call = self.client.rotate_certificate(RotateCertificateRequest { name: name(account) });
        Ok(client::answer(call, &self.asking.admin, self.timeout).await?)
    }

    fn refused(&self, status: &Status) -> Error {
        Error::Refused { address: self.asking.admin.clone(), problem: said(status) }
    }
}

/// The name of the resource.
fn name(account: &str) -> String {
    format!("certificates/{account}")
}

/// Texts of altsd say it all, after a reason code; others at least have a code.
fn said(status: &Status) -> String {
    if status.message().is_empty() { format!("{:?}", status.code()) } else { status.message().to_owned() }
}
