//! From the shared secret to every key of the handshake (specification section 7).

use crate::{
    Role,
    crypto::{self, HASH_LEN, SealingKey},
    error::Error,
    negotiate::RecordProtocol,
    secret::{KeyData, Secret},
    transcript::TranscriptHash,
};

/// The handshake secret, from which everything else is derived.
pub(crate) struct KeySchedule(Secret<HASH_LEN>);

/// What one end seals and authenticates its Finished message with.
pub(crate) struct SideKeys {
    pub(crate) sealing: SealingKey,
    pub(crate) mac: Secret<HASH_LEN>,
}

impl KeySchedule {
    pub(crate) fn new(ticket_secret: Option<&Secret<HASH_LEN>>, shared_secret: &[u8]) -> Result<Self, Error> {
        const ZEROS: [u8; HASH_LEN] = [0; HASH_LEN];
        let ticket_secret = ticket_secret.map_or(&ZEROS, Secret::expose);
        let early = crypto::hkdf_extract(&ZEROS, ticket_secret);
        let derived: Secret<HASH_LEN> = expand_label(&early, "derived", &[])?;
        Ok(Self(crypto::hkdf_extract(derived.expose(), shared_secret)))
    }

    /// The keys of the end in this role.
    pub(crate) fn side_keys(&self, role: Role, th_init: &TranscriptHash) -> Result<SideKeys, Error> {
        let label = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        let secret: Secret<HASH_LEN> = expand_label(&self.0, label, th_init)?;
        let iv: Secret<12> = expand_label(&secret, "iv", &[])?;
        Ok(SideKeys {
            sealing: SealingKey { key: expand_label(&secret, "key", &[])?, nonce: *iv.expose() },
            mac: expand_label(&secret, "finished", &[])?,
        })
    }

    /// The key that both programs get.
    pub(crate) fn key_data(
        &self,
        protocol: RecordProtocol,
        th_client: &TranscriptHash,
    ) -> Result<KeyData, Error> {
        let label = ["record ", protocol.name()].concat();
        let length = protocol.key_len();
        crypto::expand_key_data(&self.0, &info_pieces(length, &label, th_client).slices(), length)
    }

    /// The secret of the ticket that the next connection may resume from.
    pub(crate) fn ticket_secret(&self, th_client: &TranscriptHash) -> Result<Secret<HASH_LEN>, Error> {
        expand_label(&self.0, "resumption", th_client)
    }
}

/// Expand-Label of section 7: HKDF-Expand with the length, the label and the context as its info.
fn expand_label<const N: usize>(
    secret: &Secret<HASH_LEN>,
    label: &str,
    context: &[u8],
) -> Result<Secret<N>, Error> {
    Secret::filled_by(|out| crypto::hkdf_expand(secret, &info_pieces(N, label, context).slices(), out))
}

const LABEL_PREFIX: &str = "altsd1 ";

/// The info of Expand-Label in pieces, so that nothing is copied to put them together.
struct Info<'a> {
    length: [u8; 2],
    label_len: [u8; 1],
    label: &'a str,
    context_len: [u8; 1],
    context: &'a [u8],
}

fn info_pieces<'a>(length: usize, label: &'a str, context: &'a [u8]) -> Info<'a> {
    // Lengths are constants below 64, labels of this file below 80 bytes, contexts empty or a hash.
    Info {
        length: (length as u16).to_le_bytes(),
        label_len: [(LABEL_PREFIX.len() + label.len()) as u8],
        label,
        context_len: [context.len() as u8],
        context,
    }
}

impl Info<'_> {
    fn slices(&self) -> [&[u8]; 6] {
        [
            &self.length,
            &self.label_len,
            LABEL_PREFIX.as_bytes(),
            self.label.as_bytes(),
            &self.context_len,
            self.context,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expand_label_gives_the_outputs_of_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../tests/handshake.json")).expect("the vectors are JSON");
        let cases = vectors["expand_label"].as_array().expect("there is a list");
        assert_eq!(cases.len(), 3);
        for case in cases {
            let bytes = |field: &str| hex::decode(case[field].as_str().expect(field)).expect(field);
            let label = case["label"].as_str().expect("label");
            let context = bytes("context");
            let mut out = vec![0; bytes("output").len()];
            let info = info_pieces(out.len(), label, &context);
            crypto::hkdf_expand(&Secret::copied_from(&bytes("prk")), &info.slices(), &mut out)
                .expect("the length is good");
            assert_eq!(out, bytes("output"), "{label}");
        }
    }
}
