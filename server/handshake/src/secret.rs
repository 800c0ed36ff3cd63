//! Secrets have a type: no `Debug`, no `Clone`, wiped on drop, read by `expose()`.

use zeroize::{Zeroize, Zeroizing};

/// `N` secret bytes.
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes over `bytes`. The caller's copy, if it keeps one, is its own to wipe.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// A copy of `bytes`, of which there must be `N`.
    pub(crate) fn copied_from(bytes: &[u8]) -> Self {
        let mut secret = Self([0; N]);
        secret.0.copy_from_slice(bytes);
        secret
    }

    /// Bytes that `fill` writes in place, so that no second copy of them comes to be.
    pub(crate) fn filled_by<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self([0; N]);
        fill(&mut secret.0)?;
        Ok(secret)
    }

    /// The bytes, for the one place that works with them.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The key of the record protocol: as many bytes as that protocol wants.
pub struct KeyData(Zeroizing<Vec<u8>>);

impl KeyData {
    pub(crate) fn filled_by<E>(
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut bytes = Zeroizing::new(vec![0; length]);
        fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The bytes, for the stream that did the handshake and nobody else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
