//! `altsd whoami`: what a running handshaker makes of the program that asks.

use std::{process::ExitCode, time::Duration};

use alts_proto::altsd::{
    WhoAmIRequest, WhoAmIResponse, caller_client::CallerClient, who_am_i_response::Mode,
};
use serde::Serialize;
use tonic::Code;

use super::{
    client,
    output::{self, Format},
};

/// Ask a running handshaker who this program is to it
///
/// Prints what the handshaker found out about its caller, the identity that it grants, and why. The caller is this
/// command: run it as the user, in the unit or in the container of the program in question. Exit code 0 says that an
/// identity is granted, 1 that none is.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    /// Address of the handshaker: HOST:PORT, or unix:PATH
    #[arg(long, value_name = "ADDR", env = "ALTSD_HANDSHAKER", default_value = "127.0.0.1:8080")]
    handshaker: String,

    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout_seconds: u64,

    /// Form of the result
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    output: Format,
}

const EXAMPLE: &str = "\
Examples:
  altsd whoami
  sudo -u orders altsd whoami --handshaker unix:/run/altsd/handshaker.sock
  altsd whoami --output json | jq -r '.accounts[0]'";

/// Why it is not known what the handshaker makes of this program.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unreachable(#[from] client::Error),
    #[error(
        "the handshaker at {address} does not tell its callers who they are; only altsd does, from 0.2 on"
    )]
    Unsupported { address: String },
    #[error("the handshaker at {address} refuses to answer: {problem}")]
    Refused { address: String, problem: String },
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// Asks and prints the answer. The exit code says whether an identity is granted.
pub(super) async fn run(args: Args) -> Result<ExitCode, Error> {
    let (address, timeout) = (&*args.handshaker, Duration::from_secs(args.timeout_seconds));
    let channel = client::handshaker(address, timeout).await?;
    let mut client = CallerClient::new(channel);
    let answer = client::answer(client.who_am_i(WhoAmIRequest {}), address, timeout).await?;
    let response = answer.map_err(|status| match status.code() {
        Code::Unimplemented => Error::Unsupported { address: address.to_owned() },
        code => {
            let problem = format!("{code:?}: {}", status.message());
            Error::Refused { address: address.to_owned(), problem }
        }
    })?;
    let finding = Finding::new(address, response);
    output::print(args.output, || finding.text(), &finding)?;
    Ok(if finding.accounts.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The answer, as it is printed in JSON.
#[derive(Serialize)]
struct Finding {
    handshaker: String,
    mode: &'static str,
    process_ids: Vec<u32>,
    selectors: Vec<String>,
    accounts: Vec<String>,
    workload_selectors: Vec<String>,
    denial: Option<Denial>,
}

#[derive(Serialize)]
struct Denial {
    reason: String,
    message: String,
}

impl Finding {
    fn new(address: &str, response: WhoAmIResponse) -> Self {
        let mode = match response.mode() {
            Mode::Fixed => "fixed",
            Mode::Attested => "attested",
            Mode::Unspecified => "unknown",
        };
        let denial = response.denial.map(|denial| Denial { reason: denial.reason, message: denial.message });
        Self {
            handshaker: address.to_owned(),
            mode,
            process_ids: response.process_ids,
            selectors: response.selectors,
            accounts: response.accounts,
            workload_selectors: response.workload_selectors,
            denial,
        }
    }

    fn text(&self) -> String {
        let mut rows = Vec::new();
        let mut field = |name: &str, values: &[String]| {
            for (number, value) in values.iter().enumerate() {
                let name = if number == 0 { name } else { "" };
                rows.push(vec![name.to_owned(), value.clone()]);
            }
        };
        let pids: Vec<_> = self.process_ids.iter().map(u32::to_string).collect();
        field("handshaker", std::slice::from_ref(&self.handshaker));
        field("process", &pids);
        field("selectors", &self.selectors);
        match self.accounts.split_first() {
            Some((first, others)) => {
                field("identity", std::slice::from_ref(first));
                field("on request", others);
            }
            None => field("identity", &["none".to_owned()]),
        }
        field("because", &self.reasons());
        output::table(&rows)
    }

    /// Why this identity, or none.
    fn reasons(&self) -> Vec<String> {
        if let Some(denial) = &self.denial {
            return vec![denial.reason.clone(), denial.message.clone()];
        }
        if self.mode == "fixed" {
            return vec!["every caller of this listener has it (fixed)".to_owned()];
        }
        let held = |selector: &String| format!("{selector} holds");
        self.workload_selectors.iter().map(held).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use alts_handshake::Identity;
    use alts_proto::altsd::Denial as DenialMessage;
    use tonic::service::Routes;

    use super::*;
    use crate::{
        attest::{Attestor, Workloads},
        clock::SystemClock,
        config::Address,
        handshaker::{Attestation, Entitlement, WhoAmI},
        listen::{Listener, ListenerLimits},
    };

    /// Asks a listener with these services.
    async fn asked(services: Routes) -> Result<ExitCode, Error> {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("s.sock");
        let handshaker = format!("unix:{}", path.display());
        let listener = Listener::open(&Address::Unix { path, mode: 0o600 }).expect("it can be opened");
        let limits = ListenerLimits {
            users: None,
            connections: 1,
            connections_of_one_user: 1,
            streams_per_connection: 1,
        };
        let serving = tokio::spawn(listener.serve(services, limits, pending()));
        let answer = run(Args { handshaker, timeout_seconds: 30, output: Format::Json }).await;
        serving.abort();
        answer
    }

    #[tokio::test]
    async fn the_exit_code_says_whether_an_identity_is_granted() {
        let identity = Identity::parse("orders@prod.example.com").expect("it is valid");
        let workloads = Workloads::default();
        let attestor = Attestor::new(&workloads, None, Arc::new(SystemClock)).expect("it needs nothing");
        for (entitlement, code) in [
            (Entitlement::Fixed(identity), ExitCode::SUCCESS),
            (Entitlement::Attested(Arc::new(Attestation { attestor, workloads })), ExitCode::FAILURE),
        ] {
            let services = Routes::new(WhoAmI::new(entitlement).into_server());
            let answer = asked(services).await.expect("it answers");
            assert_eq!(format!("{answer:?}"), format!("{code:?}"));
        }
    }

    #[tokio::test]
    async fn a_handshaker_that_does_not_tell_is_named() {
        let error = asked(Routes::default()).await.expect_err("it has no such service").to_string();
        assert!(error.contains("does not tell its callers who they are"), "{error}");
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn attested() -> WhoAmIResponse {
        WhoAmIResponse {
            mode: Mode::Attested.into(),
            selectors: strings(&["uid:1000", "gid:1000", "path:/usr/bin/orders"]),
            process_ids: vec![4_711],
            accounts: strings(&["orders@prod.example.com", "cart@prod.example.com"]),
            workload_selectors: strings(&["uid:1000", "path:/usr/bin/orders"]),
            denial: None,
        }
    }

    fn denied() -> WhoAmIResponse {
        let denial = DenialMessage {
            reason: "workload_unknown".to_owned(),
            message: "no workload matches".to_owned(),
        };
        WhoAmIResponse {
            accounts: Vec::new(),
            workload_selectors: Vec::new(),
            denial: Some(denial),
            ..attested()
        }
    }

    fn fixed() -> WhoAmIResponse {
        WhoAmIResponse {
            mode: Mode::Fixed.into(),
            accounts: strings(&["orders@prod.example.com"]),
            ..Default::default()
        }
    }

    #[test]
    fn the_text_says_what_was_found_what_is_granted_and_why() {
        let cases = [
            (
                attested(),
                "handshaker  127.0.0.1:8080\n\
                 process     4711\n\
                 selectors   uid:1000\n            gid:1000\n            path:/usr/bin/orders\n\
                 identity    orders@prod.example.com\n\
                 on request  cart@prod.example.com\n\
                 because     uid:1000 holds\n            path:/usr/bin/orders holds\n",
            ),
            (
                denied(),
                "handshaker  127.0.0.1:8080\n\
                 process     4711\n\
                 selectors   uid:1000\n            gid:1000\n            path:/usr/bin/orders\n\
                 identity    none\n\
                 because     workload_unknown\n            no workload matches\n",
            ),
            (
                fixed(),
                "handshaker  127.0.0.1:8080\n\
                 identity    orders@prod.example.com\n\
                 because     every caller of this listener has it (fixed)\n",
            ),
        ];
        for (response, text) in cases {
            assert_eq!(Finding::new("127.0.0.1:8080", response).text(), text);
        }
    }

    #[test]
    fn the_json_has_every_field_whatever_was_found() {
        let json = |response| serde_json::to_value(Finding::new("unix:/s", response)).expect("it is JSON");
        let expected = serde_json::json!({
            "handshaker": "unix:/s",
            "mode": "attested",
            "process_ids": [4711],
            "selectors": ["uid:1000", "gid:1000", "path:/usr/bin/orders"],
            "accounts": [],
            "workload_selectors": [],
            "denial": {"reason": "workload_unknown", "message": "no workload matches"},
        });
        assert_eq!(json(denied()), expected);
        let granted = json(attested());
        assert_eq!(granted["denial"], serde_json::Value::Null);
        let keys = |value: &serde_json::Value| value.as_object().map(|object| object.len());
        for response in [fixed(), WhoAmIResponse::default()] {
            assert_eq!(keys(&json(response)), keys(&granted));
        }
    }
}
