//! Reading and writing the forms of specification section 1. Integers are little-endian.

use crate::{error::Error, negotiate::ProtocolName};

type Result<T> = std::result::Result<T, Error>;

/// Reads one message, which it names in every refusal. Each length is checked before it is used.
pub(crate) struct Reader<'a> {
    message: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { message, rest: bytes }
    }

    pub(crate) fn refuse(&self, problem: &'static str) -> Error {
        Error::MessageMalformed { message: self.message, problem }
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Every message is consumed exactly.
    pub(crate) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.refuse("bytes left over at its end")) }
    }

    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| self.refuse("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn op8(&mut self) -> Result<&'a [u8]> {
        let length = self.u8()?;
        self.slice(length.into())
    }

    pub(crate) fn op16(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.slice(length.into())
    }

    pub(crate) fn list<T>(
        &mut self,
        range: std::ops::RangeInclusive<u8>,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.u8()?;
        if !range.contains(&count) {
            return Err(self.refuse("a list with too few or too many items"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn name(&mut self) -> Result<ProtocolName> {
        let bytes = self.op8()?;
        self.name_from(bytes)
    }

    /// A name, or an empty op8.
    pub(crate) fn optional_name(&mut self) -> Result<Option<ProtocolName>> {
        let bytes = self.op8()?;
        if bytes.is_empty() { Ok(None) } else { self.name_from(bytes).map(Some) }
    }

    fn name_from(&self, bytes: &[u8]) -> Result<ProtocolName> {
        std::str::from_utf8(bytes)
            .ok()
            .and_then(ProtocolName::new)
            .ok_or_else(|| self.refuse("a name that is empty, too long, or not printable"))
    }
}

/// Writes the same forms. Lengths are the caller's to keep: everything written comes from checked types.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(crate) fn op8(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= u8::MAX.into());
        self.u8(bytes.len() as u8);
        self.bytes(bytes);
    }

    pub(crate) fn op16(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.len() <= u16::MAX.into());
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        debug_assert!(items.len() <= u8::MAX.into());
        self.u8(items.len() as u8);
        for each in items {
            item(self, each);
        }
    }

    pub(crate) fn names(&mut self, names: &[ProtocolName]) {
        self.list(names, |out, name| out.op8(name.as_str().as_bytes()));
    }
}
