//! Calls on a running daemon.

use std::{error::Error as _, time::Duration};

use super::output::Format;
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

/// How many of a long list are asked for at once: as many as altsd gives, for each page costs it a look at all of them.
pub(super) const PAGE: i32 = 1_000;

/// Why a daemon cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{address:?} is no address of a handshaker: {problem}; it is HOST:PORT or unix:PATH")]
    Handshaker { address: String, problem: String },
    #[error("no handshaker answers at {address}: {problem}; is `altsd run` running, and listening there?")]
    NoHandshaker { address: String, problem: String },
    #[error(
        "{address:?} is no admin socket: it is unix:/PATH, as `address` in the section [admin] of the \
             configuration"
    )]
    Admin { address: String },
    #[error(
        "no altsd answers at the admin socket {address}: {problem}; is `altsd run` running, with \
         `[admin] address = \"{address}\"` in its configuration?"
    )]
    NoAdmin { address: String, problem: String },
    #[error(
        "the admin socket {address} lets this user not in: {problem}; ask as root or as the user that altsd runs as, or \
         have `uids` of [admin] name it"
    )]
    AdminDenied { address: String, problem: String },
    #[error("altsd at {address} refuses: {problem}")]
    Refused { address: String, problem: String },
    #[error(
        "the connection to altsd at {address} broke: {problem}; what was asked for may have been done: look before you \
         ask again"
    )]
    Broken { address: String, problem: String },
    #[error("no answer came from {address} within {seconds} s; give it more by --timeout-seconds")]
    Silent { address: String, seconds: u64 },
}

/// Whom to ask over the admin socket, and how to print the answer.
#[derive(Clone, clap::Args)]
pub(super) struct Asking {
    /// The admin socket
    #[arg(long, value_name = "ADDR", env = "ALTSD_ADMIN", default_value = "unix:/run/altsd/admin.sock")]
    pub(super) admin: String,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(super) timeout_seconds: u64,
    /// Form of the result
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    pub(super) output: Format,
}

/// A connection to an admin socket.
pub(super) struct Daemon<'a> {
    asking: &'a Asking,
    pub(super) channel: Channel,
}

impl<'a> Daemon<'a> {
    pub(super) async fn of(asking: &'a Asking) -> Result<Self, Error> {
        Ok(Self { asking, channel: admin(&asking.admin, asking.timeout()).await? })
    }

    /// The answer to a call. A refusal is an error that says what the daemon says.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        let address = &self.asking.admin;
        let answer = answer(call, address, self.asking.timeout()).await?;
        answer.map_err(|status| match status.source() {
            // What a daemon says comes without a cause.
            Some(cause) => Error::Broken { address: address.clone(), problem: deepest(cause) },
            None => Error::Refused { address: address.clone(), problem: said(&status) },
        })
    }
}

impl Asking {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// Texts of altsd say it all, after a reason code; others at least have a code.
pub(super) fn said(status: &Status) -> String {
    if status.message().is_empty() { format!("{:?}", status.code()) } else { status.message().to_owned() }
}

/// Connects to a handshaker.
pub(super) async fn handshaker(address: &str, timeout: Duration) -> Result<Channel, Error> {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    let endpoint = Endpoint::from_shared(uri)
        .map_err(|error| Error::Handshaker { address: address.to_owned(), problem: deepest(&error) })?;
    endpoint
        .connect_timeout(timeout)
        .connect()
        .await
        .map_err(|error| Error::NoHandshaker { address: address.to_owned(), problem: deepest(&error) })
}

/// Connects to an admin socket.
pub(super) async fn admin(address: &str, timeout: Duration) -> Result<Channel, Error> {
    let invalid = || Error::Admin { address: address.to_owned() };
    if !address.starts_with("unix:/") {
        return Err(invalid());
    }
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| invalid())?;
    endpoint.connect_timeout(timeout).connect().await.map_err(|error| {
        let (address, problem) = (address.to_owned(), deepest(&error));
        match is_denied(&error) {
            true => Error::AdminDenied { address, problem },
            false => Error::NoAdmin { address, problem },
        }
    })
}

/// The answer to a call, or none in time.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
    address: &str,
    timeout: Duration,
) -> Result<Result<T, Status>, Error> {
    let silent = |_| Error::Silent { address: address.to_owned(), seconds: timeout.as_secs() };
    let answer = tokio::time::timeout(timeout, call).await.map_err(silent)?;
    Ok(answer.map(Response::into_inner))
}

/// Whether the mode of a socket's file, or of a directory above it, is the cause.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().map(std::io::Error::kind) == Some(std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The innermost cause: the outer ones only say that there is an inner one.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn an_admin_address_that_is_no_unix_socket_is_refused() {
        for address in ["", "127.0.0.1:1", "/run/altsd/admin.sock", "unix:run/admin.sock", "http://a"] {
            let error = admin(address, SECOND).await.expect_err(address).to_string();
            assert!(
                error.starts_with(&format!("{address:?} is no admin socket: it is unix:/PATH")),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_named_with_the_way_out() {
        let error =
            admin("unix:/nowhere/admin.sock", SECOND).await.expect_err("nothing is there").to_string();
        assert!(
            error.starts_with("no altsd answers at the admin socket unix:/nowhere/admin.sock: "),
            "{error}"
        );
        assert!(error.contains("`[admin] address = \"unix:/nowhere/admin.sock\"`"), "{error}");
        let error = handshaker("unix:/nowhere/s.sock", SECOND).await.expect_err("nor here").to_string();
        assert!(error.starts_with("no handshaker answers at unix:/nowhere/s.sock: "), "{error}");
        assert!(error.contains("is `altsd run` running"), "{error}");
    }

    #[tokio::test]
    async fn a_daemon_that_dies_under_a_call_has_not_refused_it() {
        let directory = tempfile::tempdir().expect("there is room");
        let socket = directory.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).expect("the name is free");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = tokio::io::AsyncReadExt::read(&mut connection, &mut [0; 24]).await;
            }
        });
        let address = format!("unix:{}", socket.display());
        let asking = Asking { admin: address.clone(), timeout_seconds: 60, output: Format::Text };
        let daemon = Daemon::of(&asking).await.expect("it accepts");
        let mut client = alts_proto::altsd::node_client::NodeClient::new(daemon.channel.clone());
        let call = client.get_status(alts_proto::altsd::GetStatusRequest {});
        let error = daemon.ask(call).await.expect_err("it is gone").to_string();
        assert!(error.starts_with(&format!("the connection to altsd at {address} broke: ")), "{error}");
        assert!(error.ends_with("may have been done: look before you ask again"), "{error}");
    }

    #[tokio::test]
    async fn a_call_without_an_answer_ends() {
        let never = std::future::pending::<Result<Response<()>, Status>>();
        let error = answer(never, "unix:/s", Duration::ZERO).await.expect_err("nothing comes").to_string();
        assert_eq!(error, "no answer came from unix:/s within 0 s; give it more by --timeout-seconds");
    }
}
