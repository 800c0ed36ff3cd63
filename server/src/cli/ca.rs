//! `altsd ca`: the signing service inside altsd, by its state directory.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;

use super::output::{self, Format};
use crate::{
    app,
    clock::utc,
    config::{self, Ca, Configured, Source},
    identity::signing::{self, CaDescription, DEFAULT_LIFETIME, Description, SigningSettings},
};

/// Set up the signing service inside altsd, and hand out its root
///
/// It issues short-lived certificates to the workloads of this node. Its root and its issuer are in the state
/// directory, for the user of altsd alone: run this as that user.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd ca init --config /etc/altsd/altsd.toml
  altsd ca show --config /etc/altsd/altsd.toml
  altsd ca export-root --config /etc/altsd/altsd.toml > root.pem";

#[derive(clap::Subcommand)]
enum Command {
    /// Make a root and an issuer
    ///
    /// Fails if there is a root already: nothing is ever written over one. `altsd run` makes them by itself at its
    /// first start; this is for those who need the root earlier.
    #[command(after_long_help = "Example:\n  altsd ca init --config /etc/altsd/altsd.toml")]
    Init {
        #[command(flatten)]
        place: Place,
        /// Form of the result
        #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
        output: Format,
    },
    /// Show the root and the issuer
    #[command(after_long_help = "Example:\n  altsd ca show --config /etc/altsd/altsd.toml")]
    Show {
        #[command(flatten)]
        place: Place,
        /// Form of the result
        #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
        output: Format,
    },
    /// Print the root in PEM, for the peers of this node
    ///
    /// They name it as a file of roots in their section `[[trust]]` for each authority of this node.
    #[command(after_long_help = "Example:\n  altsd ca export-root --config /etc/altsd/altsd.toml > root.pem")]
    ExportRoot {
        #[command(flatten)]
        place: Place,
    },
}

/// Where the signing service is.
#[derive(clap::Args)]
struct Place {
    /// The configuration that names its state directory
    #[arg(long, env = "ALTSD_CONFIG", value_name = "FILE", required_unless_present = "state_directory")]
    config: Option<PathBuf>,
    /// The state directory itself, without a configuration
    #[arg(long, value_name = "DIR")]
    state_directory: Option<PathBuf>,
}

/// Why a command about the signing service failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("{} has no [signing_service]; add one, or give --state-directory DIR", .0.display())]
    NoService(PathBuf),
    #[error(transparent)]
    Signing(#[from] signing::Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

pub(super) fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::Init { place, output } => {
            let service = app::create_signing_service(&place.settings()?)?;
            show(&service.describe(), output)
        }
        Command::Show { place, output } => {
            let service = app::open_signing_service(&place.settings()?)?;
            show(&service.describe(), output)
        }
        Command::ExportRoot { place } => {
            let service = app::open_signing_service(&place.settings()?)?;
            Ok(io::stdout().lock().write_all(service.root_pem().as_bytes())?)
        }
    }
}

impl Place {
    fn settings(self) -> Result<SigningSettings, Error> {
        if let Some(directory) = self.state_directory {
            // Whom it issues for is for the configuration to say; nothing is issued here.
            return Ok(SigningSettings { directory, authorities: Vec::new(), lifetime: DEFAULT_LIFETIME });
        }
        // clap asks for one of the two.
        let file = self.config.unwrap_or_default();
        match config::read(&file)?.source {
            Source::Configured(Configured { ca: Some(Ca::SigningService(settings)), .. }) => Ok(settings),
            _ => Err(Error::NoService(file)),
        }
    }
}

fn show(description: &Description, output: Format) -> Result<(), Error> {
    let view = View::new(description);
    Ok(output::print(output, || view.text(), &view)?)
}

/// A signing service as it is in JSON.
#[derive(Serialize)]
struct View {
    root: Certificate,
    issuer: Certificate,
    authorities: Vec<String>,
    certificate_lifetime_seconds: u64,
}

#[derive(Serialize)]
struct Certificate {
    subject: String,
    sha256_fingerprint: String,
    not_before_time: String,
    not_after_time: String,
}

impl View {
    fn new(description: &Description) -> Self {
        let Description { root, issuer, authorities, lifetime } = description;
        Self {
            root: Certificate::new(root),
            issuer: Certificate::new(issuer),
            authorities: authorities.iter().map(ToString::to_string).collect(),
            certificate_lifetime_seconds: lifetime.as_secs(),
        }
    }

    fn text(&self) -> String {
        let mut rows = Vec::new();
        let mut field = |name: String, value: String| rows.push(vec![name, value]);
        for (what, certificate) in [("root", &self.root), ("issuer", &self.issuer)] {
            field(what.to_owned(), certificate.subject.clone());
            field(format!("{what} sha256"), certificate.sha256_fingerprint.clone());
            field(format!("{what} expires"), certificate.not_after_time.clone());
        }
        if self.authorities.is_empty() {
            return output::table(&rows);
        }
        field("issues for".to_owned(), self.authorities.join(" "));
        let lifetime = Duration::from_secs(self.certificate_lifetime_seconds);
        field("certificates".to_owned(), format!("valid for {lifetime:?}"));
        output::table(&rows)
    }
}

impl Certificate {
    fn new(description: &CaDescription) -> Self {
        let CaDescription { name, fingerprint, not_before, not_after } = description;
        Self {
            subject: name.clone(),
            sha256_fingerprint: fingerprint.clone(),
            not_before_time: utc(*not_before),
            not_after_time: utc(*not_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use alts_handshake::Authority;

    use super::*;

    fn description() -> Description {
        let ca = |name: &str, fingerprint: &str| CaDescription {
            name: name.to_owned(),
            fingerprint: fingerprint.to_owned(),
            not_before: 1_767_225_600,
            not_after: 1_767_312_000,
        };
        let authority = |name| Authority::parse(name).expect("it is valid");
        Description {
            root: ca("altsd root", "aa"),
            issuer: ca("altsd issuer", "bb"),
            authorities: vec![authority("prod.example.com"), authority("spiffe://prod.example.com")],
            lifetime: Duration::from_secs(3_600),
        }
    }

    #[test]
    fn the_text_has_one_aligned_line_for_each_fact() {
        let expected = "\
root            altsd root
root sha256     aa
root expires    2026-01-02T00:00:00Z
issuer          altsd issuer
issuer sha256   bb
issuer expires  2026-01-02T00:00:00Z
issues for      prod.example.com spiffe://prod.example.com
certificates    valid for 3600s
";
        assert_eq!(View::new(&description()).text(), expected);
    }

    #[test]
    fn the_json_has_stable_names_and_times() {
        let certificate = |subject: &str, fingerprint: &str| {
            serde_json::json!({
                "subject": subject,
                "sha256_fingerprint": fingerprint,
                "not_before_time": "2026-01-01T00:00:00Z",
                "not_after_time": "2026-01-02T00:00:00Z",
            })
        };
        let expected = serde_json::json!({
            "root": certificate("altsd root", "aa"),
            "issuer": certificate("altsd issuer", "bb"),
            "authorities": ["prod.example.com", "spiffe://prod.example.com"],
            "certificate_lifetime_seconds": 3_600,
        });
        assert_eq!(serde_json::to_value(View::new(&description())).expect("it is JSON"), expected);
    }
}
