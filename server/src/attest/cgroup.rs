//! What the cgroup of a process tells. Pure: it reads the text of `/proc/<pid>/cgroup`.

use super::selector::{Kind, Selector, is_unit};

/// The selectors of a process with this `/proc/<pid>/cgroup`: its cgroup, its unit, the uid of its pod.
pub(super) fn selectors(text: &str) -> Vec<Selector> {
    let Some(path) = path(text) else { return Vec::new() };
    let found = [
        Selector::new(Kind::Cgroup, path),
        unit(path).and_then(|unit| Selector::new(Kind::Systemd, unit)),
        pod_uid(path).and_then(|uid| Selector::new(Kind::KubernetesPodUid, &uid)),
    ];
    // A path that is none, because it leads out of what we can see, has no unit and no pod either.
    if found[0].is_none() { Vec::new() } else { found.into_iter().flatten().collect() }
}

/// The path in the unified hierarchy, or, where that is not in use, in the one that systemd keeps.
fn path(text: &str) -> Option<&str> {
    let of = |hierarchy: &str| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let is_it = match hierarchy {
                "" => line.starts_with("0::"),
                name => controllers.split(',').any(|controller| controller == name),
            };
            is_it.then_some(path)
        })
    };
    let unified = of("");
    unified.filter(|path| *path != "/").or_else(|| of("name=systemd")).or(unified)
}

/// The unit as systemd itself finds it: below the slices. What is deeper was made by the unit, and proves nothing.
fn unit(path: &str) -> Option<&str> {
    let mut parts = path.split('/').skip(1).skip_while(|part| is_slice(part));
    let first = parts.next()?;
    // systemd puts `_` before a name that could be taken for something of the kernel's.
    let name = first.strip_prefix('_').unwrap_or(first);
    is_unit(name).then_some(name)
}

fn is_slice(part: &str) -> bool {
    part.strip_suffix(".slice").is_some_and(|stem| !stem.is_empty())
}

/// The pod that the kubelet made this cgroup for, with either of its drivers.
fn pod_uid(path: &str) -> Option<String> {
    let mut parts = path.split('/').skip(1);
    match parts.next()? {
        "kubepods" => {
            let first = parts.next()?;
            let pod = if matches!(first, "burstable" | "besteffort") { parts.next()? } else { first };
            pod.strip_prefix("pod").map(str::to_owned)
        }
        "kubepods.slice" => {
            let first = parts.next()?;
            let (class, pod) = match first {
                "kubepods-burstable.slice" => ("kubepods-burstable-pod", parts.next()?),
                "kubepods-besteffort.slice" => ("kubepods-besteffort-pod", parts.next()?),
                _ => ("kubepods-pod", first),
            };
            // A `-` in the name of a slice stands for a level, so that the uid has `_` in its place.
            let uid = pod.strip_prefix(class)?.strip_suffix(".slice")?;
            (!uid.contains('-')).then(|| uid.replace('_', "-"))
        }
        _ => None,
    }
}
