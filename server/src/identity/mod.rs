//! Where certificates come from: PEM files, or in dev mode a signing service in memory.

pub(crate) mod dev;
pub(crate) mod files;
