//! `altsd policy list` and `show`.

use alts_proto::altsd::{self as api, policy_client::PolicyClient};
use tonic::transport::Channel;

use super::{
    Error, Kind, output,
    view::{self, All, ListView},
};
use crate::cli::client::{self, Asking, Daemon};

#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// Only peer lists, unless others are asked for too
    #[arg(long)]
    lists: bool,
    /// Only rules
    #[arg(long)]
    rules: bool,
    /// Only target names
    #[arg(long)]
    target_names: bool,
    #[command(flatten)]
    asking: Asking,
}

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    kind: Kind,
    /// Its name, as `altsd policy list` shows it
    name: String,
    #[command(flatten)]
    asking: Asking,
}

/// A connection to the service.
pub(super) struct Session<'a> {
    pub(super) daemon: Daemon<'a>,
    pub(super) client: PolicyClient<Channel>,
}

impl<'a> Session<'a> {
    pub(super) async fn open(asking: &'a Asking) -> Result<Self, client::Error> {
        let daemon = Daemon::of(asking).await?;
        let client = PolicyClient::new(daemon.channel.clone());
        Ok(Self { daemon, client })
    }

    /// All pages.
    pub(super) async fn lists(&mut self) -> Result<Vec<api::PeerList>, client::Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = api::ListPeerListsRequest { page_size: client::PAGE, page_token };
            let page = self.daemon.ask(self.client.list_peer_lists(request)).await?;
            all.extend(page.peer_lists);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(super) async fn rules(&mut self) -> Result<Vec<api::Rule>, client::Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = api::ListRulesRequest { page_size: client::PAGE, page_token };
            let page = self.daemon.ask(self.client.list_rules(request)).await?;
            all.extend(page.rules);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    pub(super) async fn targets(&mut self) -> Result<Vec<api::TargetName>, client::Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = api::ListTargetNamesRequest { page_size: client::PAGE, page_token };
            let page = self.daemon.ask(self.client.list_target_names(request)).await?;
            all.extend(page.target_names);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }
}

pub(super) async fn list(args: &ListArgs) -> Result<(), Error> {
    let everything = !(args.lists || args.rules || args.target_names);
    let mut session = Session::open(&args.asking).await?;
    let mut all = All::default();
    if everything || args.lists {
        all.peer_lists = Some(session.lists().await?.into_iter().map(ListView::brief).collect());
    }
    if everything || args.rules {
        all.rules = Some(session.rules().await?.into_iter().map(Into::into).collect());
    }
    if everything || args.target_names {
        all.target_names = Some(session.targets().await?.into_iter().map(Into::into).collect());
    }
    Ok(output::print(args.asking.output, || view::all(&all), &all)?)
}

pub(super) async fn show(args: &ShowArgs) -> Result<(), Error> {
    let mut session = Session::open(&args.asking).await?;
    let (name, output) = (args.kind.resource(&args.name), args.asking.output);
    match args.kind {
        Kind::List => {
            let call = session.client.get_peer_list(api::GetPeerListRequest { name });
            let shown = session.daemon.ask(call).await?.into();
            output::print(output, || view::list(&shown), &shown)?;
        }
        Kind::Rule => {
            let call = session.client.get_rule(api::GetRuleRequest { name });
            let shown = session.daemon.ask(call).await?.into();
            output::print(output, || view::rule(&shown), &shown)?;
        }
        Kind::Target => {
            let call = session.client.get_target_name(api::GetTargetNameRequest { name });
            let shown = session.daemon.ask(call).await?.into();
            output::print(output, || view::target(&shown), &shown)?;
        }
    }
    Ok(())
}

impl Kind {
    /// The name of the resource.
    pub(super) fn resource(self, name: &str) -> String {
        let collection = match self {
            Self::List => "peerLists",
            Self::Rule => "rules",
            Self::Target => "targetNames",
        };
        format!("{collection}/{name}")
    }
}
