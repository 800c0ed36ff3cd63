//! The transcript hashes (specification section 7): frames as sent or received, AuthBlocks as plaintext,
//! never a signature or a MAC.

use crate::crypto::{HASH_LEN, Sha256};

/// A hash of everything exchanged so far.
pub(crate) type TranscriptHash = [u8; HASH_LEN];

/// The running hash of a handshake.
pub(crate) struct Transcript(Sha256);

impl Transcript {
    /// Starts with the two Init frames, whole.
    pub(crate) fn of_inits(client_init: &[u8], server_init: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(client_init);
        hash.update(server_init);
        Self(hash)
    }

    /// Adds the AuthBlock of the server, then that of the client, and returns the hash with it.
    pub(crate) fn add_auth_block(&mut self, auth_block: &[u8]) -> TranscriptHash {
        self.0.update(auth_block);
        self.hash()
    }

    pub(crate) fn hash(&self) -> TranscriptHash {
        self.0.clone().finish()
    }
}
