//! The messages of specification sections 3 to 5, as values. Decoding consumes a payload exactly or refuses it.

use crate::{
    codec::{Reader, Writer},
    crypto::HASH_LEN,
    error::Error,
    negotiate::{ProtocolName, RpcVersions, Suite, VERSION},
    ticket::TicketId,
};

/// Bytes of the random field of both Init messages.
pub(crate) const RANDOM_LEN: usize = 32;

/// Extensions of this number or above must be understood by the receiver.
const CRITICAL_EXTENSIONS: u16 = 0x8000;

/// Most certificates in a chain.
pub(crate) const MAX_CHAIN: usize = 4;

/// An extension. None is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) kind: u16,
    pub(crate) data: Vec<u8>,
}

/// The client's half of one key exchange. Room for the suites of a known length; others are skipped unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientShare {
    pub(crate) suite: u16,
    pub(crate) share: Vec<u8>,
}

/// The client's offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientInit {
    pub(crate) versions: Vec<u16>,
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) shares: Vec<ClientShare>,
    pub(crate) record_protocols: Vec<ProtocolName>,
    pub(crate) application_protocols: Vec<ProtocolName>,
    pub(crate) transport_protocols: Vec<ProtocolName>,
    pub(crate) rpc_versions: RpcVersions,
    pub(crate) max_frame_size: u32,
    pub(crate) ticket_id: Option<TicketId>,
    pub(crate) extensions: Vec<Extension>,
}

impl ClientInit {
    /// Reads a payload. The versions come first: without a common one the rest may look like anything.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        const MESSAGE: &str = "ClientInit";
        let mut reader = Reader::new(MESSAGE, payload);
        let versions = reader.list(1..=16, Reader::u16)?;
        if !versions.contains(&VERSION) {
            return Err(Error::VersionNotCommon { peer: versions });
        }
        let message = Self {
            versions,
            random: reader.array()?,
            shares: read_shares(&mut reader)?,
            record_protocols: reader.list(1..=8, Reader::name)?,
            application_protocols: reader.list(1..=8, Reader::name)?,
            transport_protocols: reader.list(0..=8, Reader::name)?,
            rpc_versions: read_rpc_versions(&mut reader)?,
            max_frame_size: reader.u32()?,
            ticket_id: read_ticket_id(&mut reader)?,
            extensions: read_extensions(&mut reader)?,
        };
        reader.finish()?;
        let critical = message.extensions.iter().find(|extension| extension.kind >= CRITICAL_EXTENSIONS);
        if let Some(extension) = critical {
            return Err(Error::ExtensionUnknown { message: MESSAGE, extension: extension.kind });
        }
        Ok(message)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.list(&self.versions, |out, version| out.u16(*version));
        out.bytes(&self.random);
        out.list(&self.shares, |out, share| {
            out.u16(share.suite);
            out.op16(&share.share);
        });
        out.names(&self.record_protocols);
        out.names(&self.application_protocols);
        out.names(&self.transport_protocols);
        write_rpc_versions(&mut out, &self.rpc_versions);
        out.u32(self.max_frame_size);
        write_ticket_id(&mut out, self.ticket_id.as_ref());
        write_extensions(&mut out, &self.extensions);
        out.0
    }

    /// The share offered for a suite.
    pub(crate) fn share_of(&self, suite: Suite) -> Option<&[u8]> {
        self.shares.iter().find(|share| share.suite == suite.code()).map(|share| share.share.as_slice())
    }
}

fn read_shares(reader: &mut Reader<'_>) -> Result<Vec<ClientShare>, Error> {
    let mut seen = Vec::new();
    reader.list(1..=4, |reader| {
        let suite = reader.u16()?;
        let share = reader.op16()?;
        if seen.contains(&suite) {
            return Err(reader.refuse("a suite that comes twice"));
        }
        seen.push(suite);
        match Suite::from_code(suite) {
            Some(known) if known.client_share_len() != share.len() => {
                Err(reader.refuse("share of the wrong length"))
            }
            Some(_) => Ok(ClientShare { suite, share: share.to_vec() }),
            None => Ok(ClientShare { suite, share: Vec::new() }),
        }
    })
}

/// The server's choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerInit {
    pub(crate) version: u16,
    pub(crate) random: [u8; RANDOM_LEN],
    pub(crate) suite: u16,
    pub(crate) share: Vec<u8>,
    pub(crate) record_protocol: ProtocolName,
    pub(crate) application_protocol: ProtocolName,
    pub(crate) transport_protocol: Option<ProtocolName>,
    pub(crate) rpc_versions: RpcVersions,
    pub(crate) max_frame_size: u32,
    pub(crate) resumed: bool,
    pub(crate) extensions: Vec<Extension>,
}

impl ServerInit {
    /// Reads a payload. The version comes first: the rest of another one may look like anything.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("ServerInit", payload);
        let version = reader.u16()?;
        if version != VERSION {
            return Err(Error::VersionNotCommon { peer: vec![version] });
        }
        let message = Self {
            version,
            random: reader.array()?,
            suite: reader.u16()?,
            share: reader.op16()?.to_vec(),
            record_protocol: reader.name()?,
            application_protocol: reader.name()?,
            transport_protocol: reader.optional_name()?,
            rpc_versions: read_rpc_versions(&mut reader)?,
            max_frame_size: reader.u32()?,
            resumed: match reader.u8()? {
                0 => false,
                1 => true,
                _ => return Err(reader.refuse("a mode other than 0 and 1")),
            },
            extensions: read_extensions(&mut reader)?,
        };
        reader.finish()?;
        Ok(message)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u16(self.version);
        out.bytes(&self.random);
        out.u16(self.suite);
        out.op16(&self.share);
        out.op8(self.record_protocol.as_str().as_bytes());
        out.op8(self.application_protocol.as_str().as_bytes());
        out.op8(self.transport_protocol.as_ref().map_or(b"", |name| name.as_str().as_bytes()));
        write_rpc_versions(&mut out, &self.rpc_versions);
        out.u32(self.max_frame_size);
        out.u8(self.resumed.into());
        write_extensions(&mut out, &self.extensions);
        out.0
    }
}

/// Who an end is: the part of a Finished message that the transcript covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthBlock {
    /// DER, leaf first; empty on resumption.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// A new ticket, with its lifetime in seconds.
    pub(crate) ticket: Option<(TicketId, u32)>,
}

impl AuthBlock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.list(&self.certificates, |out, certificate| out.op16(certificate));
        write_ticket_id(&mut out, self.ticket.as_ref().map(|(id, _)| id));
        out.u32(self.ticket.as_ref().map_or(0, |(_, lifetime)| *lifetime));
        out.0
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let certificates = reader.list(0..=MAX_CHAIN as u8, |reader| reader.op16().map(<[u8]>::to_vec))?;
        let ticket = match (read_ticket_id(reader)?, reader.u32()?) {
            (None, 0) => None,
            (Some(id), lifetime @ 1..) => Some((id, lifetime)),
            _ => return Err(reader.refuse("a ticket without a lifetime or a lifetime without a ticket")),
        };
        Ok(Self { certificates, ticket })
    }
}

/// What was under the seal of a ServerFinished or ClientFinished.
pub(crate) struct Finished<'a> {
    pub(crate) auth_block: AuthBlock,
    /// The AuthBlock as it was sent, for the transcript.
    pub(crate) auth_block_bytes: &'a [u8],
    pub(crate) scheme: u16,
    pub(crate) signature: &'a [u8],
    pub(crate) mac: [u8; HASH_LEN],
}

/// What a Finished message may hold, besides what its form allows.
#[derive(Clone, Copy)]
pub(crate) struct FinishedRules {
    pub(crate) message: &'static str,
    pub(crate) resumed: bool,
    pub(crate) ticket_allowed: bool,
}

impl<'a> Finished<'a> {
    pub(crate) fn decode(plaintext: &'a [u8], rules: FinishedRules) -> Result<Self, Error> {
        let mut reader = Reader::new(rules.message, plaintext);
        let auth_block = AuthBlock::read(&mut reader)?;
        let auth_block_bytes = &plaintext[..plaintext.len() - reader.remaining()];
        let scheme = reader.u16()?;
        let signature = reader.op16()?;
        let mac = reader.array()?;
        if auth_block.ticket.is_some() && (rules.resumed || !rules.ticket_allowed) {
            return Err(reader.refuse("a ticket where none may come"));
        }
        let without_proof = auth_block.certificates.is_empty() && scheme == 0 && signature.is_empty();
        if rules.resumed && !without_proof {
            return Err(reader.refuse("a certificate or signature on resumption"));
        }
        if !rules.resumed && (auth_block.certificates.is_empty() || signature.is_empty()) {
            return Err(reader.refuse("no certificate or no signature"));
        }
        reader.finish()?;
        Ok(Self { auth_block, auth_block_bytes, scheme, signature, mac })
    }

    /// The plaintext of a message whose AuthBlock is already encoded.
    pub(crate) fn encode(mut auth_block: Vec<u8>, scheme: u16, signature: &[u8], mac: &[u8]) -> Vec<u8> {
        // With room for the tag, so that sealing does not move it.
        auth_block.reserve_exact(4 + signature.len() + mac.len() + crate::crypto::TAG_LEN);
        let mut out = Writer(auth_block);
        out.u16(scheme);
        out.op16(signature);
        out.bytes(mac);
        out.0
    }
}

fn read_rpc_versions(reader: &mut Reader<'_>) -> Result<RpcVersions, Error> {
    let max = (reader.u32()?, reader.u32()?);
    let min = (reader.u32()?, reader.u32()?);
    Ok(RpcVersions { max, min })
}

fn write_rpc_versions(out: &mut Writer, versions: &RpcVersions) {
    for number in [versions.max.0, versions.max.1, versions.min.0, versions.min.1] {
        out.u32(number);
    }
}

fn read_ticket_id(reader: &mut Reader<'_>) -> Result<Option<TicketId>, Error> {
    let bytes = reader.op8()?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let id = bytes.try_into().map_err(|_| reader.refuse("a ticket id that is not 16 bytes"))?;
    Ok(Some(TicketId(id)))
}

fn write_ticket_id(out: &mut Writer, id: Option<&TicketId>) {
    out.op8(id.map_or(&[], |id| &id.0));
}

fn read_extensions(reader: &mut Reader<'_>) -> Result<Vec<Extension>, Error> {
    let mut last = None;
    reader.list(0..=16, |reader| {
        let kind = reader.u16()?;
        if last.is_some_and(|last| last >= kind) {
            return Err(reader.refuse("extensions that are not strictly increasing"));
        }
        last = Some(kind);
        Ok(Extension { kind, data: reader.op16()?.to_vec() })
    })
}

fn write_extensions(out: &mut Writer, extensions: &[Extension]) {
    out.list(extensions, |out, extension| {
        out.u16(extension.kind);
        out.op16(&extension.data);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_message_holds_what_its_mode_and_its_sender_allow() {
        const CERTIFICATE: &[u8] = &[1, 3, 0, 1, 2, 3];
        const NONE: &[u8] = &[0];
        const TICKET: &[u8] = &[16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 88, 2, 0, 0];
        const NO_TICKET: &[u8] = &[0, 0, 0, 0, 0];
        const SIGNED: &[u8] = &[7, 8, 2, 0, 5, 5];
        const UNSIGNED: &[u8] = &[0, 0, 0, 0];
        // What it holds; whether a resumed one may, one of a server, one of a client.
        type Case = (&'static str, [&'static [u8]; 3], bool, bool, bool);
        let cases: [Case; 9] = [
            ("a proof", [CERTIFICATE, NO_TICKET, SIGNED], false, true, true),
            ("a proof and a ticket", [CERTIFICATE, TICKET, SIGNED], false, true, false),
            ("nothing", [NONE, NO_TICKET, UNSIGNED], true, false, false),
            ("a ticket alone", [NONE, TICKET, UNSIGNED], false, false, false),
            ("a certificate alone", [CERTIFICATE, NO_TICKET, UNSIGNED], false, false, false),
            ("a signature alone", [NONE, NO_TICKET, SIGNED], false, false, false),
            ("a scheme alone", [NONE, NO_TICKET, &[7, 8, 0, 0]], false, false, false),
            ("a signature without a scheme", [NONE, NO_TICKET, &[0, 0, 1, 0, 5]], false, false, false),
            ("a lifetime without a ticket", [CERTIFICATE, &[0, 1, 0, 0, 0], SIGNED], false, false, false),
        ];
        for (name, parts, resumed, server, client) in cases {
            let plaintext = [parts.concat(), vec![9; HASH_LEN]].concat();
            let taken = |resumed, ticket_allowed| {
                let rules = FinishedRules { message: "Finished", resumed, ticket_allowed };
                Finished::decode(&plaintext, rules).is_ok()
            };
            assert_eq!(taken(true, true), resumed, "{name}, resumed");
            assert_eq!(taken(false, true), server, "{name}, of a server");
            assert_eq!(taken(false, false), client, "{name}, of a client");
            let longer = [plaintext.as_slice(), &[0]].concat();
            let rules = FinishedRules { message: "Finished", resumed, ticket_allowed: true };
            assert!(Finished::decode(&longer, rules).is_err(), "{name}, with a byte behind it");
        }
    }
}
