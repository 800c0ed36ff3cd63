//! A list of those who may call a service.

use std::{collections::HashSet, sync::Arc};

use tonic::{Request, Status, service::Interceptor};

use crate::AltsAuthInfo;

/// The attribute in which altsd says the SPIFFE ID of a peer whose account is a mail name.
const SPIFFE_ID: &str = "spiffe_id";
const SPIFFE: &str = "spiffe://";

/// Lets in the requests of these accounts alone: an interceptor for a tonic service.
///
/// An entry is an account as the handshaker says it, letter by letter (its mail domain is in lower case); there are no
/// patterns. An entry `spiffe://…` also lets in who has that SPIFFE ID beside a mail account. An empty list lets nobody
/// in. Requests that did not come over ALTS are answered with `UNAUTHENTICATED`, those of others with
/// `PERMISSION_DENIED`.
///
/// ```
/// use alts_client::AllowedPeers;
/// use tonic::service::Interceptor as _;
///
/// // GreeterServer::with_interceptor(greeter, AllowedPeers::new(["orders@prod.example.com"]))
/// let mut allowed = AllowedPeers::new(["orders@prod.example.com"]);
/// let refused = allowed.call(tonic::Request::new(())).unwrap_err();
/// assert_eq!(refused.code(), tonic::Code::Unauthenticated);
/// ```
#[derive(Clone, Debug)]
pub struct AllowedPeers(Arc<HashSet<String>>);

impl AllowedPeers {
    /// Lets in these.
    pub fn new<A: Into<String>>(accounts: impl IntoIterator<Item = A>) -> Self {
        Self(Arc::new(accounts.into_iter().map(Into::into).collect()))
    }

    /// Whether this peer is let in.
    pub fn allows(&self, peer: &AltsAuthInfo) -> bool {
        let spiffe_id = peer.peer_attributes().get(SPIFFE_ID).filter(|id| id.starts_with(SPIFFE));
        self.0.contains(peer.peer_service_account()) || spiffe_id.is_some_and(|id| self.0.contains(id))
    }
}

impl Interceptor for AllowedPeers {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(peer) = AltsAuthInfo::of(request.extensions()) else {
            return Err(Status::unauthenticated("the request did not come over ALTS"));
        };
        if !self.allows(peer) {
            let account = peer.peer_service_account();
            return Err(Status::permission_denied(format!("{account:?} may not call this service")));
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const ORDERS: &str = "orders@prod.example.com";
    const ID: &str = "spiffe://prod.example.com/orders";

    fn request_of(account: &str, attributes: &[(&str, &str)]) -> Request<()> {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut peer = AltsAuthInfo::of_peer(account);
        let facts = Arc::get_mut(&mut peer.0).expect("it is not shared yet");
        facts.peer_attributes = attributes.collect();
        let mut request = Request::new(());
        request.extensions_mut().insert(peer);
        request
    }

    /// A list, the account and the attributes of a caller, and whether it is let in.
    type Case = (&'static [&'static str], &'static str, &'static [(&'static str, &'static str)], bool);

    #[test]
    fn accounts_are_compared_whole_and_letter_by_letter() {
        let cases: [Case; 15] = [
            (&[ORDERS], ORDERS, &[], true),
            (&["cart@prod.example.com", ORDERS], ORDERS, &[], true),
            (&[ID], ID, &[], true),
            (&[ID], ORDERS, &[("spiffe_id", ID)], true),
            (&[], ORDERS, &[], false),
            (&[], "", &[], false),
            (&[ORDERS], "", &[], false),
            (&[ORDERS], "Orders@prod.example.com", &[], false),
            (&["orders@Prod.example.com"], ORDERS, &[], false),
            (&["*", "*@prod.example.com", "orders@*"], ORDERS, &[], false),
            (&["orders@prod.example.co"], ORDERS, &[], false),
            (&["orders@prod.example.com "], ORDERS, &[], false),
            (&[ID], ORDERS, &[("other", ID)], false),
            (&[ID], "spiffe://prod.example.com/orders/more", &[], false),
            (&[ORDERS], "cart@prod.example.com", &[("spiffe_id", ORDERS)], false),
        ];
        for (list, account, attributes, expected) in cases {
            let answer = AllowedPeers::new(list.iter().copied()).call(request_of(account, attributes));
            match answer {
                Ok(_) => assert!(expected, "{list:?} lets {account:?} in"),
                Err(status) => {
                    assert!(!expected, "{list:?} refuses {account:?}");
                    assert_eq!(status.code(), Code::PermissionDenied);
                    assert_eq!(status.message(), format!("{account:?} may not call this service"));
                }
            }
        }
    }

    #[test]
    fn who_did_not_come_over_alts_is_nobody() {
        for list in [vec![], vec![""], vec![ORDERS]] {
            let status = AllowedPeers::new(list).call(Request::new(())).expect_err("nobody is let in");
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.message(), "the request did not come over ALTS");
        }
    }
}
