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
    client::{self, Asking, said},
    output::{self, Format},
};

mod view;

/// Show and renew the certificates of a running altsd
///
/// Asks over the admin socket, which answers only root and the user that altsd runs as. The daemon opens it if its
/// configuration has a section `[admin]`.
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
    match (rotated.failed.first(), accounts.len()) {
        (None, _) => Ok(()),
        (Some(failed), 1) => Err(session.refused(&failed.problem)),
        (Some(first), all) => {
            Err(Error::NotRotated { failed: rotated.failed.len(), all, problem: first.problem.clone() })
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
        let timeout = asking.timeout();
        let channel = client::admin(&asking.admin, timeout).await?;
        Ok(Self { asking, timeout, client: CertificatesClient::new(channel) })
    }

    /// All pages.
    async fn all(&mut self) -> Result<Vec<Certificate>, Error> {
        let mut certificates = Vec::new();
        let mut page_token = String::new();
        loop {
            let call = self
                .client
                .list_certificates(ListCertificatesRequest { page_size: client::PAGE, page_token });
            let page = client::answer(call, &self.asking.admin, self.timeout).await?;
            let page = page.map_err(|status| self.refused(&said(&status)))?;
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
        certificate.map_err(|status| self.refused(&said(&status)))
    }

    async fn rotate(&mut self, account: &str) -> Result<Result<Certificate, Status>, Error> {
        let call = self.client.rotate_certificate(RotateCertificateRequest { name: name(account) });
        Ok(client::answer(call, &self.asking.admin, self.timeout).await?)
    }

    fn refused(&self, problem: &str) -> Error {
        Error::Refused { address: self.asking.admin.clone(), problem: problem.to_owned() }
    }
}

/// The name of the resource.
fn name(account: &str) -> String {
    format!("certificates/{account}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::Admin;

    fn asking(admin: &Admin) -> Asking {
        let admin = format!("unix:{}", admin.socket().display());
        Asking { admin, timeout_seconds: 30, output: Format::Json }
    }

    #[tokio::test]
    async fn a_list_is_all_pages_of_it() {
        let accounts: Vec<_> = (0..250).map(|number| format!("w{number:03}@x.example")).collect();
        let admin = Admin::of(&accounts.iter().map(String::as_str).collect::<Vec<_>>());
        let asking = asking(&admin);
        let certificates = Session::open(&asking).await.expect("it is served").all().await;
        let found: Vec<_> =
            certificates.expect("it is allowed").into_iter().map(|certificate| certificate.account).collect();
        assert_eq!(found, accounts);
    }

    #[tokio::test]
    async fn a_certificate_is_shown_with_its_chain() {
        let admin = Admin::of(&["a@x.example"]);
        let asking = asking(&admin);
        let certificate = Session::open(&asking).await.expect("it is served").get("a@X.example").await;
        let view = View::from(certificate.expect("it is known"));
        assert!(view.chain_pem().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE-----\n")));
    }

    #[tokio::test]
    async fn what_altsd_refuses_is_told_with_its_reason() {
        let admin = Admin::of(&["a@x.example"]);
        let asking = asking(&admin);
        for (account, reason) in [("b@x.example", "certificate_unknown: "), ("b", "name_invalid: ")] {
            let error = show(&asking, account, false).await.expect_err(account).to_string();
            let expected = format!("altsd at {} refuses: {reason}", asking.admin);
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[tokio::test]
    async fn one_certificate_that_is_not_renewed_keeps_no_other_from_it_and_is_an_error() {
        let admin = Admin::of(&["a@x.example", "down@x.example", "z@x.example"]);
        let asking = asking(&admin);
        let error = rotate(&asking, None).await.expect_err("one is down").to_string();
        let expected = "1 of 3 certificates are not renewed; the first: rotation_failed: down@x.example";
        assert!(error.starts_with(expected), "{error}");
        assert!(rotate(&asking, Some("z@x.example".to_owned())).await.is_ok());
        let error = rotate(&asking, Some("b@x.example".to_owned())).await.expect_err("it is unknown");
        let expected = format!("altsd at {} refuses: certificate_unknown: b@x.example", asking.admin);
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}
