//! What two programs can agree on (specification sections 3, 4 and 11): the server chooses, the client checks.

use crate::{
    error::{Error, SetupError},
    message::{ClientInit, ServerInit},
};

/// The only version of the handshake there is.
pub(crate) const VERSION: u16 = 1;

/// Most names in one list.
const MAX_NAMES: usize = 8;

/// A protocol name: 1 to 64 printable ASCII bytes without a space, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolName(String);

impl ProtocolName {
    /// `None` if `name` is not one.
    pub fn new(name: &str) -> Option<Self> {
        let valid = (1..=64).contains(&name.len()) && name.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        valid.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A record protocol that this handshaker can make a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordProtocol {
    /// AES-128-GCM with a new key every 2^16 frames.
    GcmAes128Rekey,
}

impl RecordProtocol {
    const ALL: [Self; 1] = [Self::GcmAes128Rekey];

    /// The protocol of this name, if it is known here.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::GcmAes128Rekey => "ALTSRP_GCM_AES128_REKEY",
        }
    }

    /// Bytes of key it wants.
    pub fn key_len(self) -> usize {
        match self {
            Self::GcmAes128Rekey => 44,
        }
    }
}

impl From<RecordProtocol> for ProtocolName {
    fn from(protocol: RecordProtocol) -> Self {
        Self(protocol.name().to_owned())
    }
}

/// A key exchange suite (specification section 6) that this handshaker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Suite {
    X25519 = 1,
}

impl Suite {
    /// All of them, in the order of this end's preference.
    pub(crate) const ALL: [Self; 1] = [Self::X25519];

    pub(crate) fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.code() == code)
    }

    pub(crate) fn code(self) -> u16 {
        self as u16
    }

    /// Bytes of the client's share.
    pub(crate) fn client_share_len(self) -> usize {
        match self {
            Self::X25519 => 32,
        }
    }

    /// Bytes of the server's share.
    pub(crate) fn server_share_len(self) -> usize {
        match self {
            Self::X25519 => 32,
        }
    }
}

/// The RPC protocol versions of a program, passed on to its peer as they are. All zero: not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RpcVersions {
    /// Highest version, major and minor.
    pub max: (u32, u32),
    /// Lowest version, major and minor.
    pub min: (u32, u32),
}

impl RpcVersions {
    /// Whether the program gave none.
    pub fn is_absent(&self) -> bool {
        *self == Self::default()
    }
}

/// What one program wants or allows, and says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    pub(crate) record_protocols: Vec<ProtocolName>,
    pub(crate) application_protocols: Vec<ProtocolName>,
    pub(crate) transport_protocols: Vec<ProtocolName>,
    pub(crate) rpc_versions: RpcVersions,
    pub(crate) max_frame_size: u32,
}

impl Preferences {
    /// Takes over the lists of a program, each in its order of preference: 1 to 8 record and application
    /// protocols, 0 to 8 transport protocols. `max_frame_size` is in bytes, 0 if not given.
    pub fn new<S: AsRef<str>>(
        record_protocols: &[S],
        application_protocols: &[S],
        transport_protocols: &[S],
        rpc_versions: RpcVersions,
        max_frame_size: u32,
    ) -> Result<Self, SetupError> {
        Ok(Self {
            record_protocols: required("record_protocols", record_protocols)?,
            application_protocols: required("application_protocols", application_protocols)?,
            transport_protocols: names("transport_protocols", transport_protocols)?,
            rpc_versions,
            max_frame_size,
        })
    }

    /// Leaves out the record protocols that this handshaker has no key length for: a client offers only what it
    /// can do.
    pub fn with_known_record_protocols(mut self) -> Result<Self, SetupError> {
        let names = join(&self.record_protocols);
        self.record_protocols.retain(|name| RecordProtocol::from_name(name.as_str()).is_some());
        if self.record_protocols.is_empty() {
            return Err(SetupError::RecordProtocolUnknown { names });
        }
        Ok(self)
    }
}

fn required<S: AsRef<str>>(list: &'static str, from: &[S]) -> Result<Vec<ProtocolName>, SetupError> {
    if from.is_empty() {
        return Err(SetupError::ProtocolsMissing { list });
    }
    names(list, from)
}

fn names<S: AsRef<str>>(list: &'static str, from: &[S]) -> Result<Vec<ProtocolName>, SetupError> {
    if from.len() > MAX_NAMES {
        return Err(SetupError::ProtocolsTooMany { list, count: from.len() });
    }
    let parse = |name: &S| {
        let name = name.as_ref();
        // Cut: a name from outside may be as long as the request.
        let shown = || name.chars().take(64).collect();
        ProtocolName::new(name).ok_or_else(|| SetupError::ProtocolNameInvalid { list, name: shown() })
    };
    from.iter().map(parse).collect()
}

/// What the two ends agreed on.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    pub(crate) suite: Suite,
    pub(crate) record_protocol: RecordProtocol,
    pub(crate) application_protocol: ProtocolName,
    pub(crate) transport_protocol: Option<ProtocolName>,
}

/// The server's choices (section 4). The version was chosen while the message was read.
pub(crate) fn choose(client: &ClientInit, own: &Preferences) -> Result<Choices, Error> {
    let suite = Suite::ALL.into_iter().find(|suite| client.share_of(*suite).is_some());
    let suite = suite.ok_or_else(|| Error::SuiteNotCommon {
        peer: client.shares.iter().map(|share| share.suite).collect(),
    })?;
    let record_protocol = client
        .record_protocols
        .iter()
        .filter(|name| own.record_protocols.contains(name))
        .find_map(|name| RecordProtocol::from_name(name.as_str()))
        .ok_or_else(|| Error::RecordProtocolNotCommon {
            peer: join(&client.record_protocols),
            own: join(&own.record_protocols),
        })?;
    let application_protocol = first_common(&client.application_protocols, &own.application_protocols)
        .ok_or_else(|| Error::ApplicationProtocolNotCommon {
            peer: join(&client.application_protocols),
            own: join(&own.application_protocols),
        })?;
    let transport_protocol = first_common(&client.transport_protocols, &own.transport_protocols);
    Ok(Choices { suite, record_protocol, application_protocol, transport_protocol })
}

/// The client's check that every choice is one that it sent in this handshake (section 4). The version was checked
/// while the message was read.
pub(crate) fn check(server: &ServerInit, sent: &ClientInit) -> Result<Choices, Error> {
    let refused = |what, choice: &str| Error::ChoiceNotOffered { what, choice: choice.to_owned() };

    let suite = Suite::from_code(server.suite)
        .filter(|suite| sent.share_of(*suite).is_some())
        .ok_or_else(|| refused("suite", &server.suite.to_string()))?;
    if server.share.len() != suite.server_share_len() {
        return Err(Error::MessageMalformed { message: "ServerInit", problem: "share of the wrong length" });
    }
    let record_protocol = Some(&server.record_protocol)
        .filter(|name| sent.record_protocols.contains(name))
        .and_then(|name| RecordProtocol::from_name(name.as_str()))
        .ok_or_else(|| refused("record protocol", server.record_protocol.as_str()))?;
    if !sent.application_protocols.contains(&server.application_protocol) {
        return Err(refused("application protocol", server.application_protocol.as_str()));
    }
    if let Some(name) = &server.transport_protocol
        && !sent.transport_protocols.contains(name)
    {
        return Err(refused("transport protocol", name.as_str()));
    }
    if server.resumed && sent.ticket_id.is_none() {
        return Err(refused("mode", "resumption"));
    }
    let sent_extension = |kind| sent.extensions.iter().any(|extension| extension.kind == kind);
    if let Some(extension) = server.extensions.iter().find(|extension| !sent_extension(extension.kind)) {
        return Err(refused("extension", &extension.kind.to_string()));
    }
    Ok(Choices {
        suite,
        record_protocol,
        application_protocol: server.application_protocol.clone(),
        transport_protocol: server.transport_protocol.clone(),
    })
}

fn first_common(wanted: &[ProtocolName], allowed: &[ProtocolName]) -> Option<ProtocolName> {
    wanted.iter().find(|name| allowed.contains(name)).cloned()
}

fn join(names: &[ProtocolName]) -> String {
    names.iter().map(ProtocolName::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ClientShare, Extension};

    const REKEY: &str = "ALTSRP_GCM_AES128_REKEY";

    fn name(name: &str) -> ProtocolName {
        ProtocolName::new(name).expect("it is one")
    }

    fn sent() -> ClientInit {
        ClientInit {
            versions: vec![VERSION],
            random: [1; 32],
            shares: vec![ClientShare { suite: 1, share: vec![9; 32] }],
            record_protocols: vec![name("OTHER"), name(REKEY)],
            application_protocols: vec![name("grpc"), name("h2")],
            transport_protocols: vec![name("tcp")],
            rpc_versions: RpcVersions::default(),
            max_frame_size: 0,
            ticket_id: None,
            extensions: vec![Extension { kind: 7, data: vec![] }, Extension { kind: 9, data: vec![] }],
        }
    }

    fn chosen() -> ServerInit {
        ServerInit {
            version: VERSION,
            random: [2; 32],
            suite: 1,
            share: vec![9; 32],
            record_protocol: name(REKEY),
            application_protocol: name("h2"),
            transport_protocol: Some(name("tcp")),
            rpc_versions: RpcVersions::default(),
            max_frame_size: 0,
            resumed: false,
            extensions: vec![Extension { kind: 9, data: vec![] }],
        }
    }

    #[test]
    fn a_client_takes_what_it_offered_and_nothing_else() {
        type Change = fn(&mut ServerInit);
        let cases: [(&str, Change, bool); 12] = [
            ("all offered", |_| (), true),
            ("no transport protocol", |server| server.transport_protocol = None, true),
            ("no extension", |server| server.extensions.clear(), true),
            ("another suite", |server| server.suite = 2, false),
            ("a share too short", |server| server.share.truncate(31), false),
            ("a record protocol of an unknown key", |server| server.record_protocol = name("OTHER"), false),
            ("another record protocol", |server| server.record_protocol = name("GMAC"), false),
            ("another application protocol", |server| server.application_protocol = name("h3"), false),
            ("another transport protocol", |server| server.transport_protocol = Some(name("udp")), false),
            ("a mode without a ticket", |server| server.resumed = true, false),
            ("another extension", |server| server.extensions[0].kind = 8, false),
            (
                "another extension beside one",
                |server| server.extensions.push(Extension { kind: 10, data: vec![] }),
                false,
            ),
        ];
        for (case, change, taken) in cases {
            let mut server = chosen();
            change(&mut server);
            assert_eq!(check(&server, &sent()).is_ok(), taken, "{case}");
        }
    }

    #[test]
    fn a_server_takes_the_first_that_the_client_wants_of_what_its_program_allows() {
        let own = |record: &[&str], application: &[&str], transport: &[&str]| {
            Preferences::new(record, application, transport, RpcVersions::default(), 0).expect("it is valid")
        };
        let choices =
            choose(&sent(), &own(&[REKEY, "OTHER"], &["h2", "grpc"], &["udp"])).expect("there are some");
        assert_eq!(choices.record_protocol, RecordProtocol::GcmAes128Rekey);
        assert_eq!(choices.application_protocol.as_str(), "grpc");
        assert_eq!(choices.transport_protocol, None);

        let refusal =
            |own| choose(&sent(), &own).map(drop).expect_err("there is nothing in common").to_string();
        assert_eq!(
            refusal(own(&["OTHER"], &["grpc"], &[])),
            "no common record protocol: the peer has OTHER, ALTSRP_GCM_AES128_REKEY, the program OTHER"
        );
        assert_eq!(
            refusal(own(&[REKEY], &["h3", "h4"], &[])),
            "no common application protocol: the peer has grpc, h2, the program h3, h4"
        );
        let mut other_suite = sent();
        other_suite.shares[0].suite = 2;
        let error = choose(&other_suite, &own(&[REKEY], &["grpc"], &[])).map(drop);
        assert_eq!(error, Err(Error::SuiteNotCommon { peer: vec![2] }));
    }

    #[test]
    fn lists_have_up_to_eight_names_and_versions_are_absent_only_if_all_are_zero() {
        let eight = ["x"; 8];
        assert!(Preferences::new(&eight, &eight, &eight, RpcVersions::default(), 0).is_ok());
        assert!(Preferences::new(&eight, &eight, &["x"; 9], RpcVersions::default(), 0).is_err());
        assert!(RpcVersions::default().is_absent());
        assert!(!RpcVersions { max: (0, 0), min: (0, 1) }.is_absent());
    }
}
