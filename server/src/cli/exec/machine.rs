//! A mount namespace in which the machine looks as gRPC's ALTS credentials demand.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions},
    io,
    net::Ipv4Addr,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::stat::Mode,
    unistd::{getegid, geteuid},
};

use super::NAMES;

const HOSTS: &str = "/etc/hosts";
const CLASSES: &str = "/sys/class";
const PRODUCT_NAME: &str = "/sys/class/dmi/id/product_name";

/// What gRPC compares with, after trimming; the file of a real machine ends its line too.
const PRODUCT: &str = "Google Compute Engine\n";

/// Why the machine cannot be made to look so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "the kernel forbids a mount namespace of one's own ({0}) and a user namespace to make it in ({1}); run as \
         root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns), or give the container CAP_SYS_ADMIN"
    )]
    NamespaceForbidden(Errno, Errno),
    #[error(
        "the kernel refuses a mount on {what} ({problem}); run as root, allow it with sysctl \
         kernel.apparmor_restrict_unprivileged_userns=0 where there is AppArmor, or give the container CAP_SYS_ADMIN \
         and a profile that lets it mount"
    )]
    MountForbidden { what: String, problem: Errno },
    #[error("{} cannot be used: {problem}", path.display())]
    File { path: PathBuf, problem: io::Error },
}

/// Moves this process into a mount namespace of its own, where the handshaker is at this address. The process must
/// have one thread. Nothing of it is seen outside, or is left when the process ends.
pub(super) fn enter_private(handshaker: Ipv4Addr) -> Result<(), Error> {
    enter_namespace()?;
    // Else what is mounted here would be mounted for everybody.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(forbidden("/"))?;
    let hosts = fs::read_to_string(HOSTS).map_err(at(HOSTS))?;
    let stage = Stage::set_up()?;
    stage.cover(HOSTS, &with_handshaker(&hosts, handshaker))?;
    if Path::new(PRODUCT_NAME).is_file() {
        stage.cover(PRODUCT_NAME, PRODUCT)?;
    } else {
        add_product_name()?;
    }
    stage.clear()
}

/// With the rights for it directly, else in a user namespace where user and group stay who they are.
fn enter_namespace() -> Result<(), Error> {
    let Err(directly) = unshare(CloneFlags::CLONE_NEWNS) else { return Ok(()) };
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .map_err(|in_user| Error::NamespaceForbidden(directly, in_user))?;
    // The kernel lets a process map its own group only once it can no longer drop groups.
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ];
    maps.into_iter().try_for_each(|(path, text)| fs::write(path, text).map_err(at(path)))
}

/// The machine's host names, but the metadata names are the handshaker's.
///
/// Each name has its IPv4 address in both forms: gRPC core asks for A and AAAA, and what hosts does not answer goes
/// to DNS, where it may take seconds. Google's own machines list the name, which must not stay.
fn with_handshaker(hosts: &str, handshaker: Ipv4Addr) -> String {
    let mut text = String::new();
    for line in hosts.lines() {
        let (entry, _comment) = line.split_once('#').unwrap_or((line, ""));
        let ours = |name: &&str| NAMES.iter().any(|ours| ours.eq_ignore_ascii_case(name));
        if !entry.split_whitespace().any(|name| ours(&name)) {
            text += &format!("{line}\n");
            continue;
        }
        let others: Vec<_> = entry.split_whitespace().filter(|name| !ours(name)).collect();
        // The address alone names nothing.
        if others.len() > 1 {
            text += &format!("{}\n", others.join(" "));
        }
    }
    let names = NAMES.join(" ");
    text + &format!("{handshaker} {names}\n{} {names}\n", mapped(handshaker))
}

fn mapped(address: Ipv4Addr) -> String {
    address.to_ipv6_mapped().to_string()
}

/// A file system in memory that holds the new files until they are mounted over the old ones. They are never on
/// disk, and unlike deleted files they can be covered again, by an `exec` inside this one.
struct Stage;

impl Stage {
    /// Any directory does that every machine has and that no target is in. It is covered for as long as this takes,
    /// for this process only.
    const PLACE: &str = "/dev";

    fn set_up() -> Result<Self, Error> {
        mount_tmpfs(Path::new(Self::PLACE))?;
        Ok(Self)
    }

    /// Mounts a file with this text over the target.
    fn cover(&self, target: &str, text: &str) -> Result<(), Error> {
        let target = Path::new(target);
        let file = Path::new(Self::PLACE).join(target.file_name().unwrap_or_default());
        write_readable(&file, text)?;
        bind(&file, target)
    }

    /// Uncovers its place. What is mounted from it stays.
    fn clear(self) -> Result<(), Error> {
        umount2(Self::PLACE, MntFlags::MNT_DETACH).map_err(forbidden(Self::PLACE))
    }
}

/// For a machine without DMI: a directory over /sys/class with every entry it had, and dmi.
fn add_product_name() -> Result<(), Error> {
    let classes = Path::new(CLASSES);
    // Opened before the old directory is covered, and then reached through this.
    let old = directory(classes)?;
    let old_path = PathBuf::from(format!("/proc/self/fd/{}", old.as_raw_fd()));
    let entries: Vec<OsString> = fs::read_dir(&old_path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect())
        .map_err(at(classes))?;
    mount_tmpfs(classes)?;
    for entry in entries.iter().filter(|entry| *entry != "dmi") {
        keep(&old_path.join(entry), &classes.join(entry))?;
    }
    let product_name = Path::new(PRODUCT_NAME);
    let parent = product_name.parent().unwrap_or(classes);
    DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(at(parent))?;
    write_readable(product_name, PRODUCT)
}

fn mount_tmpfs(place: &Path) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some("mode=755")).map_err(forbidden(place.display()))
}

/// A file that also a program reads which has given up its user.
fn write_readable(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)))
        .map_err(at(path))
}

fn directory(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|problem| at(path)(problem.into()))
}

/// Makes an entry of the old directory one of the new.
fn keep(old: &Path, new: &Path) -> Result<(), Error> {
    let kind = fs::symlink_metadata(old).map_err(at(new))?.file_type();
    if kind.is_symlink() {
        return fs::read_link(old).and_then(|target| symlink(target, new)).map_err(at(new));
    }
    if kind.is_dir() {
        fs::create_dir(new).map_err(at(new))?;
    } else {
        File::create(new).map_err(at(new))?;
    }
    bind(old, new)
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    // Recursive: in a user namespace the kernel gives a tree only with all that is mounted in it.
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), target, None::<&str>, flags, None::<&str>).map_err(forbidden(target.display()))
}

fn forbidden(what: impl ToString) -> impl Fn(Errno) -> Error {
    move |problem| Error::MountForbidden { what: what.to_string(), problem }
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |problem| Error::File { path, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "127.0.0.7 metadata.google.internal metadata.google.internal.\n\
                        ::ffff:127.0.0.7 metadata.google.internal metadata.google.internal.\n";

    #[test]
    fn the_metadata_names_are_the_handshaker_s_alone_and_all_other_names_stay() {
        let cases = [
            ("", ""),
            ("127.0.0.1 localhost", "127.0.0.1 localhost\n"),
            ("# a comment\n\n::1 localhost # another\n", "# a comment\n\n::1 localhost # another\n"),
            ("169.254.169.254 metadata.google.internal metadata\n", "169.254.169.254 metadata\n"),
            ("169.254.169.254\tMetadata.Google.Internal. # Google\n", ""),
            ("10.0.0.1 metadata.google.internal.example", "10.0.0.1 metadata.google.internal.example\n"),
            ("10.0.0.1 a # metadata.google.internal", "10.0.0.1 a # metadata.google.internal\n"),
        ];
        for (before, kept) in cases {
            let after = with_handshaker(before, Ipv4Addr::new(127, 0, 0, 7));
            assert_eq!(after, format!("{kept}{OURS}"), "{before:?}");
        }
    }
}
