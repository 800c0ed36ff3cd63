//! `altsd policy create-list`, `create-rule`, `create-target`, `peers`, `set-mode`, `delete`.

use alts_proto::{
    FieldMask,
    altsd::{self as api, rule},
};
use serde::Serialize;

use super::{
    Error, Kind, Mode, Side, output,
    show::Session,
    view::{self, ListView, RuleView, TargetView},
};
use crate::cli::client::Asking;

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Its name: 1 to 63 of a-z 0-9 -, a letter first
    name: String,
    /// Peers: accounts, *@DOMAIN, spiffe://DOMAIN/PATH/*, trust-domain:DOMAIN, ca-key-sha256:HEX, key-sha256:HEX
    /// or *
    peers: Vec<String>,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).multiple(true).args(["lists", "peers"]))]
pub(super) struct RuleArgs {
    /// Its name: 1 to 63 of a-z 0-9 -, a letter first
    name: String,
    /// The local accounts that it is about: an account, *@DOMAIN, spiffe://DOMAIN/PATH/* or *
    #[arg(long, value_name = "ACCOUNT")]
    local: String,
    /// Which end they are: server says who may call them, client whom they may call
    #[arg(long, value_enum)]
    side: Side,
    /// Refuse the peers instead of admitting them; this wins over any rule that admits
    #[arg(long)]
    deny: bool,
    /// A peer list that it means; may be given several times
    #[arg(long = "list", value_name = "NAME")]
    lists: Vec<String>,
    /// A peer that it means; may be given several times
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<String>,
    /// Whether it decides
    #[arg(long, value_enum, default_value = "enforce")]
    mode: Mode,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct TargetArgs {
    /// HOST or HOST:PORT, as programs call it
    name: String,
    /// Accounts that may stand behind it
    #[arg(required = true)]
    accounts: Vec<String>,
    /// For people
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct PeersArgs {
    #[command(subcommand)]
    command: Peers,
}

#[derive(clap::Subcommand)]
enum Peers {
    /// Add peers; those that are on the list already stay
    #[command(
        after_long_help = "Examples:\n  altsd policy peers add front-ends app@prod.example.com '*@edge.example.com'"
    )]
    Add {
        /// The name of the list
        list: String,
        #[arg(required = true)]
        peers: Vec<String>,
        #[command(flatten)]
        asking: Asking,
    },
    /// Remove peers
    #[command(after_long_help = "Examples:\n  altsd policy peers remove front-ends app@prod.example.com")]
    Remove {
        /// The name of the list
        list: String,
        #[arg(required = true)]
        peers: Vec<String>,
        /// Take it for done if a peer is not on the list
        #[arg(long)]
        ignore_missing: bool,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(clap::Args)]
pub(super) struct ModeArgs {
    /// The name of the rule
    rule: String,
    /// Whether it decides
    mode: Mode,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct DeleteArgs {
    kind: Kind,
    /// Its name
    name: String,
    /// Delete it only if this is its revision
    #[arg(long, value_name = "REVISION", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    revision: i64,
    /// Take it for done if the store has none
    #[arg(long)]
    ignore_missing: bool,
    #[command(flatten)]
    asking: Asking,
}

pub(super) async fn create_list(args: ListArgs) -> Result<(), Error> {
    let ListArgs { name: peer_list_id, peers, description, asking } = args;
    let mut session = Session::open(&asking).await?;
    let peer_list = Some(api::PeerList { description, peers, ..api::PeerList::default() });
    let call = session.client.create_peer_list(api::CreatePeerListRequest { peer_list_id, peer_list });
    let created: ListView = session.daemon.ask(call).await?.into();
    Ok(output::print(asking.output, || view::list(&created), &created)?)
}

pub(super) async fn create_rule(args: RuleArgs) -> Result<(), Error> {
    let RuleArgs { name: rule_id, local, side, deny, lists, peers, mode, description, asking } = args;
    let mut session = Session::open(&asking).await?;
    let rule = api::Rule {
        description,
        local,
        side: side.message().into(),
        action: if deny { rule::Action::Deny } else { rule::Action::Allow }.into(),
        mode: mode.message().into(),
        peer_lists: lists.iter().map(|list| Kind::List.resource(list)).collect(),
        peers,
        ..api::Rule::default()
    };
    let call = session.client.create_rule(api::CreateRuleRequest { rule_id, rule: Some(rule) });
    let created: RuleView = session.daemon.ask(call).await?.into();
    Ok(output::print(asking.output, || view::rule(&created), &created)?)
}

pub(super) async fn create_target(args: TargetArgs) -> Result<(), Error> {
    let TargetArgs { name: target_name_id, accounts, description, asking } = args;
    let mut session = Session::open(&asking).await?;
    let target_name = Some(api::TargetName { description, accounts, ..api::TargetName::default() });
    let request = api::CreateTargetNameRequest { target_name_id, target_name };
    let created: TargetView = session.daemon.ask(session.client.create_target_name(request)).await?.into();
    Ok(output::print(asking.output, || view::target(&created), &created)?)
}

pub(super) async fn peers(args: PeersArgs) -> Result<(), Error> {
    let (changed, output) = match args.command {
        Peers::Add { list, peers, asking } => {
            let mut session = Session::open(&asking).await?;
            let request = api::AddPeersRequest { name: Kind::List.resource(&list), peers };
            (session.daemon.ask(session.client.add_peers(request)).await?, asking.output)
        }
        Peers::Remove { list, peers, ignore_missing, asking } => {
            let mut session = Session::open(&asking).await?;
            let name = Kind::List.resource(&list);
            let request = api::RemovePeersRequest { name, peers, allow_missing: ignore_missing };
            (session.daemon.ask(session.client.remove_peers(request)).await?, asking.output)
        }
    };
    let changed = ListView::brief(changed);
    Ok(output::print(output, || view::list(&changed), &changed)?)
}

pub(super) async fn set_mode(args: ModeArgs) -> Result<(), Error> {
    let ModeArgs { rule, mode, asking } = args;
    let mut session = Session::open(&asking).await?;
    let rule =
        api::Rule { name: Kind::Rule.resource(&rule), mode: mode.message().into(), ..api::Rule::default() };
    let update_mask = Some(FieldMask { paths: vec!["mode".to_owned()] });
    let request = api::UpdateRuleRequest { rule: Some(rule), update_mask, allow_missing: false };
    let updated: RuleView = session.daemon.ask(session.client.update_rule(request)).await?.into();
    Ok(output::print(asking.output, || view::rule(&updated), &updated)?)
}

pub(super) async fn delete(args: DeleteArgs) -> Result<(), Error> {
    let DeleteArgs { kind, name, revision, ignore_missing: allow_missing, asking } = args;
    let mut session = Session::open(&asking).await?;
    let resource = kind.resource(&name);
    let (daemon, client) = (&session.daemon, &mut session.client);
    let name = resource.clone();
    let deleted = match kind {
        Kind::List => {
            daemon
                .ask(client.delete_peer_list(api::DeletePeerListRequest { name, revision, allow_missing }))
                .await?
        }
        Kind::Rule => {
            daemon.ask(client.delete_rule(api::DeleteRuleRequest { name, revision, allow_missing })).await?
        }
        Kind::Target => {
            let request = api::DeleteTargetNameRequest { name, revision, allow_missing };
            daemon.ask(client.delete_target_name(request)).await?
        }
    };
    let deleted = Deleted { name: resource, revision: deleted.revision, applied: deleted.applied };
    Ok(output::print(asking.output, || deleted.text(), &deleted)?)
}

/// What is gone.
#[derive(Serialize)]
pub(in crate::cli) struct Deleted {
    pub(in crate::cli) name: String,
    pub(in crate::cli) revision: i64,
    pub(in crate::cli) applied: bool,
}

impl Deleted {
    pub(in crate::cli) fn text(&self) -> String {
        let not_yet = if self.applied { "" } else { "; this node does not decide without it yet" };
        format!("{} is deleted{not_yet}\n", self.name)
    }
}

impl Side {
    pub(super) fn message(self) -> rule::Side {
        match self {
            Self::Server => rule::Side::Server,
            Self::Client => rule::Side::Client,
        }
    }
}

impl Mode {
    fn message(self) -> rule::Mode {
        match self {
            Self::Enforce => rule::Mode::Enforce,
            Self::Shadow => rule::Mode::Shadow,
        }
    }
}
