//! One handshake.

use std::{borrow::Cow, sync::Arc, time::Duration};

use alts_handshake::{Identity, Role};
use serde::Serialize;

use super::{
    MAX_NAME, MAX_TEXT, Verdict, Who,
    line::{cut, milliseconds, rfc3339, write_line},
};

/// The event of a line that is about a handshake.
pub(crate) const HANDSHAKE: &str = "handshake";

/// What was decided about one handshake.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HandshakeRecord {
    /// When it was decided, since 1970.
    pub(crate) time: Duration,
    /// The address that the caller called on.
    pub(crate) listener: Arc<str>,
    pub(crate) caller: Who,
    /// Which end of its connection the caller is; `None` where it has not come to say.
    pub(crate) side: Option<Role>,
    /// The account that it handshakes as, once it is known.
    pub(crate) local: Option<String>,
    pub(crate) decided: Decided,
    pub(crate) verdict: Verdict,
    /// Stable, such as `peer_certificate_expired`.
    pub(crate) reason: Option<&'static str>,
    /// The reason in words.
    pub(crate) text: Option<String>,
    /// From the start message on.
    pub(crate) duration: Option<Duration>,
}

/// What the rules of operators said about a peer that has proved who it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decided {
    pub(crate) peer: Option<Identity>,
    /// The rule that decided.
    pub(crate) rule: Option<Arc<str>>,
    /// Why the peer is admitted. Why it is not is the reason of the refusal.
    pub(crate) reason: Option<&'static str>,
    pub(crate) shadow: Option<Shadow>,
}

/// What a rule that is only tried out would have done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shadow {
    pub(crate) rule: Arc<str>,
    pub(crate) verdict: Verdict,
}

/// A record as it is told: in words, each bounded in length. The names are stable: programs of others read them.
#[derive(Serialize)]
pub(crate) struct Fields<'r> {
    pub(crate) time: String,
    pub(crate) event: &'static str,
    pub(crate) verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<&'r str>,
    pub(crate) listener: Cow<'r, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) caller: Vec<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_spiffe_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_rule: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow_verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<f64>,
}

impl HandshakeRecord {
    /// Adds this decision to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        self.fields().write_to(out);
    }

    /// The same in words.
    pub(crate) fn fields(&self) -> Fields<'_> {
        let Decided { peer, rule, shadow, .. } = &self.decided;
        let spiffe_id = peer.as_ref().and_then(|peer| peer.spiffe_id());
        Fields {
            time: rfc3339(self.time),
            event: HANDSHAKE,
            verdict: self.verdict,
            reason: self.reason,
            text: self.text.as_deref().map(|text| cut(text, MAX_TEXT)),
            side: self.side.map(side),
            listener: cut(&self.listener, MAX_TEXT),
            caller: self.caller.facts().into_iter().map(Cow::Owned).collect(),
            local: self.local.as_deref().map(|name| cut(name, MAX_NAME)),
            peer: peer.as_ref().map(|peer| cut(peer.account(), MAX_NAME)),
            peer_spiffe_id: spiffe_id.map(|id| cut(id.as_str(), MAX_NAME)),
            rule: rule.as_deref().map(|rule| cut(rule, MAX_TEXT)),
            shadow_rule: shadow.as_ref().map(|shadow| cut(&shadow.rule, MAX_TEXT)),
            shadow_verdict: shadow.as_ref().map(|shadow| shadow.verdict),
            duration_ms: self.duration.map(milliseconds),
        }
    }
}

impl Fields<'_> {
    /// Adds them to `out`, as one line with its end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        write_line(self, out);
    }
}

/// The word for an end of a connection.
pub(crate) fn side(side: Role) -> &'static str {
    match side {
        Role::Client => "client",
        Role::Server => "server",
    }
}

#[cfg(test)]
pub(crate) mod tests;
