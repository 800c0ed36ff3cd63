//! The service `altsd.v1.Policy`.

use std::sync::Arc;

use alts_proto::altsd::{
    self as api,
    policy_server::{Policy as PolicyService, PolicyServer},
};
use tonic::{Code, Request, Response, Status};

use super::{
    access::Operator,
    apply,
    certificates::Certificates,
    check,
    managed::Managed,
    refusal::{invalid, missing, refuse},
    shelf::Shelf,
};
use crate::{
    clock::Clock,
    policy::{PeerList, PeerListRecord, PeerMatch, Rule, TargetName},
};

/// Largest request, in bytes: a whole policy, as large as a policy file may be.
const MAX_MESSAGE: usize = 16 << 20;

pub(super) struct Service {
    pub(super) shelf: Shelf,
    /// The identities of this node, with all their names.
    pub(super) certificates: Arc<dyn Certificates>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn into_server(self) -> PolicyServer<Self> {
        PolicyServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl PolicyService for Service {
    async fn list_peer_lists(
        &self,
        request: Request<api::ListPeerListsRequest>,
    ) -> Result<Response<api::ListPeerListsResponse>, Status> {
        let api::ListPeerListsRequest { page_size, page_token } = request.get_ref();
        let (peer_lists, next_page_token) = self.shelf.list::<PeerList>(*page_size, page_token).await?;
        Ok(Response::new(api::ListPeerListsResponse { peer_lists, next_page_token }))
    }

    async fn get_peer_list(
        &self,
        request: Request<api::GetPeerListRequest>,
    ) -> Result<Response<api::PeerList>, Status> {
        Ok(Response::new(self.shelf.get::<PeerList>(&request.get_ref().name).await?))
    }

    async fn create_peer_list(
        &self,
        request: Request<api::CreatePeerListRequest>,
    ) -> Result<Response<api::PeerList>, Status> {
        let by = Operator::of(request.extensions());
        let api::CreatePeerListRequest { peer_list_id, peer_list } = request.into_inner();
        let peer_list = peer_list.ok_or_else(|| missing("peer_list"))?;
        Ok(Response::new(self.shelf.create::<PeerList>(&by, &peer_list_id, peer_list).await?))
    }

    async fn update_peer_list(
        &self,
        request: Request<api::UpdatePeerListRequest>,
    ) -> Result<Response<api::PeerList>, Status> {
        let by = Operator::of(request.extensions());
        let api::UpdatePeerListRequest { peer_list, update_mask, allow_missing } = request.into_inner();
        let peer_list = peer_list.ok_or_else(|| missing("peer_list"))?;
        let updated = self.shelf.update::<PeerList>(&by, peer_list, update_mask, allow_missing).await?;
        Ok(Response::new(updated))
    }

    async fn delete_peer_list(
        &self,
        request: Request<api::DeletePeerListRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let by = Operator::of(request.extensions());
        let api::DeletePeerListRequest { name, revision, allow_missing } = request.into_inner();
        self.shelf.store()?;
        self.shelf.is_free(&name).await?;
        Ok(Response::new(self.shelf.delete::<PeerList>(&by, &name, revision, allow_missing).await?))
    }

    async fn add_peers(
        &self,
        request: Request<api::AddPeersRequest>,
    ) -> Result<Response<api::PeerList>, Status> {
        let by = Operator::of(request.extensions());
        let api::AddPeersRequest { name, peers } = request.into_inner();
        let (key, peers) = (PeerList::key_of(&name)?, parse_peers(&peers)?);
        let add = |list: &PeerList| {
            let present: std::collections::HashSet<_> = list.peers().iter().collect();
            let mut new = Vec::new();
            for peer in peers.iter().filter(|peer| !present.contains(peer)) {
                if !new.contains(peer) {
                    new.push(peer.clone());
                }
            }
            let all = [list.peers(), &new].concat();
            PeerList::new(list.name().clone(), list.description(), all).map_err(|refused| invalid(&refused))
        };
        let mut changed = self.shelf.change(&by, &key, add).await?;
        PeerList::brief(&mut changed);
        Ok(Response::new(changed))
    }

    async fn remove_peers(
        &self,
        request: Request<api::RemovePeersRequest>,
    ) -> Result<Response<api::PeerList>, Status> {
        let by = Operator::of(request.extensions());
        let api::RemovePeersRequest { name, peers, allow_missing } = request.into_inner();
        let (key, peers) = (PeerList::key_of(&name)?, parse_peers(&peers)?);
        let remove = |list: &PeerList| {
            let absent = peers.iter().find(|peer| !list.peers().contains(peer));
            if let Some(absent) = absent.filter(|_| !allow_missing) {
                let text = format!("{absent} is not on list {}; nothing is changed", list.name());
                return Err(refuse(Code::NotFound, "peer_unknown", &text));
            }
            let gone: std::collections::HashSet<_> = peers.iter().collect();
            let rest = list.peers().iter().filter(|peer| !gone.contains(peer)).cloned().collect();
            PeerList::new(list.name().clone(), list.description(), rest).map_err(|refused| invalid(&refused))
        };
        let mut changed = self.shelf.change(&by, &key, remove).await?;
        PeerList::brief(&mut changed);
        Ok(Response::new(changed))
    }

    async fn list_rules(
        &self,
        request: Request<api::ListRulesRequest>,
    ) -> Result<Response<api::ListRulesResponse>, Status> {
        let api::ListRulesRequest { page_size, page_token } = request.get_ref();
        let (rules, next_page_token) = self.shelf.list::<Rule>(*page_size, page_token).await?;
        Ok(Response::new(api::ListRulesResponse { rules, next_page_token }))
    }

    async fn get_rule(&self, request: Request<api::GetRuleRequest>) -> Result<Response<api::Rule>, Status> {
        Ok(Response::new(self.shelf.get::<Rule>(&request.get_ref().name).await?))
    }

    async fn create_rule(
        &self,
        request: Request<api::CreateRuleRequest>,
    ) -> Result<Response<api::Rule>, Status> {
        let by = Operator::of(request.extensions());
        let api::CreateRuleRequest { rule_id, rule } = request.into_inner();
        let rule = rule.ok_or_else(|| missing("rule"))?;
        Ok(Response::new(self.shelf.create::<Rule>(&by, &rule_id, rule).await?))
    }

    async fn update_rule(
        &self,
        request: Request<api::UpdateRuleRequest>,
    ) -> Result<Response<api::Rule>, Status> {
        let by = Operator::of(request.extensions());
        let api::UpdateRuleRequest { rule, update_mask, allow_missing } = request.into_inner();
        let rule = rule.ok_or_else(|| missing("rule"))?;
        Ok(Response::new(self.shelf.update::<Rule>(&by, rule, update_mask, allow_missing).await?))
    }

    async fn delete_rule(
        &self,
        request: Request<api::DeleteRuleRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let by = Operator::of(request.extensions());
        let api::DeleteRuleRequest { name, revision, allow_missing } = request.into_inner();
        Ok(Response::new(self.shelf.delete::<Rule>(&by, &name, revision, allow_missing).await?))
    }

    async fn list_target_names(
        &self,
        request: Request<api::ListTargetNamesRequest>,
    ) -> Result<Response<api::ListTargetNamesResponse>, Status> {
        let api::ListTargetNamesRequest { page_size, page_token } = request.get_ref();
        let (target_names, next_page_token) = self.shelf.list::<TargetName>(*page_size, page_token).await?;
        Ok(Response::new(api::ListTargetNamesResponse { target_names, next_page_token }))
    }

    async fn get_target_name(
        &self,
        request: Request<api::GetTargetNameRequest>,
    ) -> Result<Response<api::TargetName>, Status> {
        Ok(Response::new(self.shelf.get::<TargetName>(&request.get_ref().name).await?))
    }

    async fn create_target_name(
        &self,
        request: Request<api::CreateTargetNameRequest>,
    ) -> Result<Response<api::TargetName>, Status> {
        let by = Operator::of(request.extensions());
        let api::CreateTargetNameRequest { target_name_id, target_name } = request.into_inner();
        let target_name = target_name.ok_or_else(|| missing("target_name"))?;
        Ok(Response::new(self.shelf.create::<TargetName>(&by, &target_name_id, target_name).await?))
    }

    async fn update_target_name(
        &self,
        request: Request<api::UpdateTargetNameRequest>,
    ) -> Result<Response<api::TargetName>, Status> {
        let by = Operator::of(request.extensions());
        let api::UpdateTargetNameRequest { target_name, update_mask, allow_missing } = request.into_inner();
        let target_name = target_name.ok_or_else(|| missing("target_name"))?;
        let updated = self.shelf.update::<TargetName>(&by, target_name, update_mask, allow_missing).await?;
        Ok(Response::new(updated))
    }

    async fn delete_target_name(
        &self,
        request: Request<api::DeleteTargetNameRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let by = Operator::of(request.extensions());
        let api::DeleteTargetNameRequest { name, revision, allow_missing } = request.into_inner();
        Ok(Response::new(self.shelf.delete::<TargetName>(&by, &name, revision, allow_missing).await?))
    }

    async fn apply_policy(
        &self,
        request: Request<api::ApplyPolicyRequest>,
    ) -> Result<Response<api::ApplyPolicyResponse>, Status> {
        let by = Operator::of(request.extensions());
        Ok(Response::new(apply::apply(&self.shelf, &by, request.into_inner()).await?))
    }

    async fn check_peer(
        &self,
        request: Request<api::CheckPeerRequest>,
    ) -> Result<Response<api::CheckPeerResponse>, Status> {
        let identities = self.certificates.status().into_iter().map(|status| status.identity).collect();
        let now = self.clock.now().as_secs();
        let decided = self.shelf.decisions().current();
        Ok(Response::new(check::check_peer(
            request.into_inner(),
            &decided.policy,
            decided.unknown.as_deref(),
            identities,
            now,
        )?))
    }
}

/// Peers of a request, which names one at least.
fn parse_peers(peers: &[String]) -> Result<Vec<PeerMatch>, Status> {
    if peers.is_empty() {
        return Err(missing("peers"));
    }
    // As a list of these alone would be read, so that the place of a bad one is told in the same way.
    let each = peers.iter().map(|peer| PeerMatch::parse(peer)).collect::<Result<Vec<_>, _>>();
    each.or_else(|_| {
        let record =
            PeerListRecord { name: "a".to_owned(), description: String::new(), peers: peers.to_vec() };
        PeerList::try_from(record).map(|list| list.peers().to_vec()).map_err(|refused| invalid(&refused))
    })
}
