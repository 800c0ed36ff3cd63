//! `altsd keys`: the keys that tokens are signed with, for operators.

use alts_proto::altsd::{
    ChangedSigningKeys, ListSigningKeysRequest, RetireSigningKeyRequest, RotateSigningKeyRequest,
    signing_keys_client::SigningKeysClient,
};
use tonic::transport::Channel;

use self::view::{Changed, Listed, View};
use super::{
    client::{self, Asking, Daemon},
    output,
};

mod view;

/// Show and change the keys that tokens are signed with
///
/// A key is published before it signs, so that verifiers know it by then, and stays published until the last token that
/// it has signed has ended: next, active, retired, gone. All of this goes by itself. Each node signs with a key of its
/// own, which never leaves it, and publishes those of all nodes that share its store.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd keys list
  altsd keys rotate
  altsd keys rotate --emergency
  altsd keys retire -- NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs
  altsd keys list --output json | jq -r '.keys[] | select(.state == \"active\").key_id'";

#[derive(clap::Subcommand)]
enum Command {
    /// List the keys of all nodes and what happens to them next
    ///
    /// States: next (published, and does not sign yet), active (its node signs with it), retired (nothing is signed with
    /// it any more, and its tokens are good until they end), withdrawn (nobody shall believe it), unreadable (the store
    /// has something under this name that is no key; it is not published).
    #[command(after_long_help = "Examples:\n  altsd keys list\n  altsd keys list --output json")]
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Make the next key of this node now
    ///
    /// It signs as soon as every verifier must have read it: after publish_ahead_seconds of the configuration. The key in
    /// use goes on until then, and its tokens stay good. Where keys come from a file, put the new one there first.
    #[command(after_long_help = "Examples:\n  altsd keys rotate\n  altsd keys rotate --emergency")]
    Rotate {
        /// A private key is known to others: make a new one, sign with it at once, and withdraw all other keys of this
        /// node. Verifiers that keep a set go on believing the old keys, and refuse the new one, until they read the
        /// set again: for up to verifier_cache_seconds. Restart them if you cannot wait
        #[arg(long)]
        emergency: bool,
        #[command(flatten)]
        asking: Asking,
    },
    /// Withdraw one key at once, of this node or another
    ///
    /// It is published no more, all nodes that share the store refuse its tokens, and its node never signs with it again.
    /// If it was the active one, another signs at once. Verifiers that keep a set go on believing it until they read the
    /// set again: for up to verifier_cache_seconds. This cannot be undone.
    #[command(
        after_long_help = "Examples:\n  altsd keys retire -- NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\n\nAn id may begin with -, which -- lets pass."
    )]
    Retire {
        /// Its id, as `altsd keys list` prints it
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        kid: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// Why a command about keys failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Asked(#[from] client::Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

pub(super) async fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::List { asking } => list(&asking).await,
        Command::Rotate { emergency, asking } => {
            let (daemon, mut client) = open(&asking).await?;
            let call = client.rotate_signing_key(RotateSigningKeyRequest { emergency });
            changed(daemon.ask(call).await?, &asking)
        }
        Command::Retire { kid, asking } => {
            let (daemon, mut client) = open(&asking).await?;
            let call = client.retire_signing_key(RetireSigningKeyRequest { name: name(&kid) });
            changed(daemon.ask(call).await?, &asking)
        }
    }
}

async fn list(asking: &Asking) -> Result<(), Error> {
    let (daemon, mut client) = open(asking).await?;
    let mut listed = Listed::default();
    let mut page_token = String::new();
    loop {
        let call = client.list_signing_keys(ListSigningKeysRequest { page_size: client::PAGE, page_token });
        let page = daemon.ask(call).await?;
        listed.keys.extend(page.signing_keys.into_iter().map(View::from));
        listed.problem = Some(page.problem).filter(|problem| !problem.is_empty());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(output::print(asking.output, || view::list(&listed), &listed)?)
}

fn changed(changed: ChangedSigningKeys, asking: &Asking) -> Result<(), Error> {
    let changed = Changed::from(changed);
    Ok(output::print(asking.output, || view::changed(&changed), &changed)?)
}

async fn open(asking: &Asking) -> Result<(Daemon<'_>, SigningKeysClient<Channel>), Error> {
    let daemon = Daemon::of(asking).await?;
    let client = SigningKeysClient::new(daemon.channel.clone());
    Ok((daemon, client))
}

/// The name of the resource; the whole name does too.
fn name(kid: &str) -> String {
    format!("{}{}", view::COLLECTION, kid.strip_prefix(view::COLLECTION).unwrap_or(kid))
}

#[cfg(test)]
mod tests;
