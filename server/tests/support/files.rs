//! A node whose certificates are PEM files.

use std::path::Path;

use nix::unistd::getuid;
use tempfile::TempDir;

use super::{
    node::Node,
    pki::{Issued, Pki, write},
};

/// The account of a name in the domain of all of them.
pub(crate) fn account_of(name: &str) -> String {
    format!("{name}@prod.example")
}

/// A directory with a root and, for each name, a good certificate with the serial number 1.
pub(crate) fn directory(pki: &Pki, names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    write(directory.path(), "root.pem", &pki.root());
    for name in names {
        put(directory.path(), name, &pki.numbered(&account_of(name), 1));
    }
    directory
}

/// Writes `NAME.key`, then `NAME.pem`.
pub(crate) fn put(directory: &Path, name: &str, issued: &Issued) {
    write(directory, &format!("{name}.key"), &issued.key);
    write(directory, &format!("{name}.pem"), &issued.certificate);
}

/// Serves these identities to programs of the user who runs the test. `more` goes to the section `[[trust]]`, and
/// what comes behind that.
pub(crate) fn serve(directory: TempDir, names: &[&str], more: &str) -> Node {
    let accounts: Vec<_> = names.iter().map(|name| account_of(name)).collect();
    let mut config =
        format!("[[workload]]\nservice_accounts = {accounts:?}\nselectors = [\"uid:{}\"]\n", getuid());
    for (name, account) in names.iter().zip(&accounts) {
        config += &format!(
            "[[identity]]\naccount = \"{account}\"\ncertificate_chain = \"{name}.pem\"\nprivate_key = \"{name}.key\"\n"
        );
    }
    config += &format!("[[trust]]\nauthority = \"prod.example\"\nroots = [\"root.pem\"]\n{more}");
    Node::start_in(directory, &config)
}
