//! Selectors, workloads and cgroups: tables.

use std::collections::BTreeSet;

use super::{
    super::{
        AttestError, Selector, SelectorProblem, Workload, WorkloadProblem, Workloads, cgroup,
        selector::common, workload::Tie,
    },
    selectors, workload,
};

#[test]
fn a_selector_is_given_back_as_it_was_written() {
    let hash = format!("sha256:{}", "0a".repeat(32));
    for text in [
        "uid:0",
        "uid:4294967294",
        "gid:1000",
        "user:orders",
        "user:Müller.x-y_z$",
        "group:orders",
        "path:/usr/bin/orders",
        "path:/opt/a b/c:d",
        &hash,
        "systemd:orders.service",
        "systemd:orders@1\\x2d.service",
        "systemd:session-3.scope",
        "cgroup:/",
        "cgroup:/system.slice/orders.service",
        "k8s:ns:shop",
        "k8s:sa:cart.v1",
        "k8s:pod-name:cart-7d9f-x2x",
        "k8s:pod-uid:0f6b1c6e-1111-2222-3333-444455556666",
    ] {
        let selector = Selector::parse(text).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(selector.to_string(), text);
    }
}

#[test]
fn what_is_no_selector_is_refused_by_its_text() {
    let upper = format!("sha256:{}", "0A".repeat(32));
    let long = format!("path:/{}", "a".repeat(5_000));
    let long_name = format!("k8s:ns:{}", "a".repeat(64));
    for text in [
        "uid:",
        "uid:-1",
        "uid:+1",
        "uid:01",
        "uid: 1",
        "uid:1 ",
        "uid:4294967295",
        "uid:4294967296",
        "uid:orders",
        "gid:0x1",
        "user:",
        "user:a b",
        "user:a:b",
        "user:a/b",
        "group:a\n",
        "path:",
        "path:/",
        "path:orders",
        "path:/usr/bin/",
        "path:/usr//bin",
        "path:/usr/./bin",
        "path:/usr/bin/../x",
        "path:/usr/bin/a\nb",
        &long,
        "sha256:",
        "sha256:00",
        &upper,
        "systemd:",
        "systemd:orders",
        "systemd:.service",
        "systemd:@.service",
        "systemd:a/b.service",
        "systemd:orders.slice",
        "systemd:orders.socket",
        "cgroup:",
        "cgroup:a",
        "cgroup:/a/",
        "cgroup:/../a",
        "k8s:ns:",
        "k8s:ns:Shop",
        "k8s:ns:-a",
        "k8s:ns:a.b",
        &long_name,
        "k8s:sa:a..b",
        "k8s:sa:a/b",
        "k8s:pod-uid:A",
    ] {
        match Selector::parse(text) {
            Err(SelectorProblem::BadValue { text: named, .. }) => {
                assert!(text.escape_debug().to_string().starts_with(&named), "{named}");
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    for text in ["", "uid", "UID:1", " uid:1", "k8s:shop", "k8s:", "unix:uid:1", ":"] {
        let problem = Selector::parse(text).expect_err(text);
        assert!(matches!(problem, SelectorProblem::UnknownKind { .. }), "{text:?}: {problem:?}");
        assert!(problem.to_string().contains("`uid:`") && problem.to_string().contains("`k8s:pod-uid:`"));
    }
}

#[test]
fn a_cgroup_holds_for_what_is_below_it() {
    for (wanted, found, holds) in [
        ("cgroup:/a", "cgroup:/a", true),
        ("cgroup:/a", "cgroup:/a/b/c", true),
        ("cgroup:/", "cgroup:/a", true),
        ("cgroup:/", "cgroup:/", true),
        ("cgroup:/a", "cgroup:/ab", false),
        ("cgroup:/a/b", "cgroup:/a", false),
        ("cgroup:/a", "cgroup:/", false),
        ("cgroup:/a", "path:/a", false),
    ] {
        let wanted = Selector::parse(wanted).expect("it is a selector");
        assert_eq!(wanted.holds(&selectors([found])), holds, "{wanted} {found}");
    }
}

#[test]
fn what_is_common_is_true_of_both() {
    let one = selectors(["uid:1", "gid:1", "path:/a", "cgroup:/x/y/one"]);
    let other = selectors(["uid:1", "gid:2", "cgroup:/x/y/other", "systemd:o.service"]);
    assert_eq!(common(&one, &other), selectors(["uid:1", "cgroup:/x/y"]));
    assert_eq!(common(&other, &one), common(&one, &other));
    assert_eq!(common(&one, &one), one);
    assert_eq!(
        common(&selectors(["cgroup:/a/b"]), &selectors(["cgroup:/a/b/c"])),
        selectors(["cgroup:/a/b"])
    );
    assert_eq!(common(&selectors(["cgroup:/ab"]), &selectors(["cgroup:/a"])), selectors(["cgroup:/"]));
    assert!(common(&selectors(["cgroup:/a"]), &selectors(["uid:1"])).is_empty());
}

#[test]
fn a_workload_that_nobody_or_everybody_could_be_cannot_be_built() {
    let identity = || vec![alts_handshake::Identity::parse("a@example.com").expect("it is an account")];
    let refusal = |selectors| Workload::new(identity(), selectors).expect_err("it is refused");
    assert_eq!(refusal(BTreeSet::new()), WorkloadProblem::NoSelector);
    for pair in [
        ["uid:1", "uid:2"],
        ["user:a", "user:b"],
        ["path:/a", "path:/a/b"],
        ["cgroup:/a", "cgroup:/b"],
        ["cgroup:/a", "cgroup:/ab"],
        ["systemd:a.service", "systemd:b.service"],
        ["k8s:ns:a", "k8s:ns:b"],
    ] {
        let problem = refusal(selectors(pair));
        assert!(matches!(problem, WorkloadProblem::Contradiction { .. }), "{problem:?}");
        assert!(pair.iter().all(|text| problem.to_string().contains(text)), "{problem}");
    }
    assert!(matches!(Workload::new(Vec::new(), selectors(["uid:1"])), Err(WorkloadProblem::NoIdentity)));
    assert!(Workload::new(identity(), selectors(["cgroup:/a", "cgroup:/a/b", "uid:1"])).is_ok());
}

#[test]
fn two_workloads_that_one_caller_can_be_are_refused_by_their_places() {
    for (one, other) in [
        (["uid:1", "gid:1"], ["uid:1", "gid:1"]),
        (["uid:1", "gid:1"], ["uid:1", "path:/a"]),
        (["uid:1", "gid:1"], ["user:a", "group:a"]),
        (["uid:1", "cgroup:/a"], ["uid:1", "cgroup:/a/b"]),
        (["uid:1", "systemd:a.service"], ["uid:1", "cgroup:/system.slice/b.service"]),
    ] {
        let entries = vec![
            workload("first@example.com", ["uid:9"]),
            workload("one@example.com", one),
            workload("other@example.com", other),
        ];
        assert_eq!(Workloads::new(entries).expect_err("it is a tie"), Tie { first: 1, second: 2 }, "{one:?}");
    }
    for (one, other) in [
        (["uid:1", "gid:1"], ["uid:2", "gid:1"]),
        (["uid:1", "path:/a"], ["uid:1", "path:/b"]),
        (["uid:1", "cgroup:/a"], ["uid:1", "cgroup:/ab"]),
        (["k8s:ns:a", "k8s:sa:x"], ["k8s:ns:b", "k8s:sa:x"]),
    ] {
        let entries = vec![workload("one@example.com", one), workload("other@example.com", other)];
        assert!(Workloads::new(entries).is_ok(), "{one:?} {other:?}");
    }
}

#[test]
fn the_workload_with_most_selectors_wins_and_nobody_is_one_by_default() {
    let workloads = Workloads::new(vec![
        workload("any@example.com", ["uid:1"]),
        workload("orders@example.com", ["uid:1", "path:/usr/bin/orders"]),
        workload("slice@example.com", ["uid:1", "cgroup:/orders.slice", "gid:1"]),
    ]);
    let workloads = workloads.expect("there is no tie");
    let is = |found: &BTreeSet<Selector>| Some(workloads.of(found)?.identities()[0].account().to_owned());
    for (found, account) in [
        (selectors(["uid:1", "gid:1", "path:/usr/bin/orders", "cgroup:/"]), Some("orders@example.com")),
        (selectors(["uid:1", "gid:1", "path:/usr/bin/other", "cgroup:/"]), Some("any@example.com")),
        (selectors(["uid:1", "gid:1", "cgroup:/orders.slice/a.service"]), Some("slice@example.com")),
        (selectors(["uid:1"]), Some("any@example.com")),
        (selectors(["uid:2", "gid:1", "path:/usr/bin/orders", "cgroup:/orders.slice"]), None),
        (BTreeSet::new(), None),
    ] {
        assert_eq!(is(&found).as_deref(), account, "{found:?}");
    }
    assert_eq!(workloads.identities().count(), 3);
    assert!(workloads.wanted().executable && !workloads.wanted().sha256 && !workloads.wanted().pods);
}

#[test]
fn a_cgroup_tells_unit_and_pod_only_where_the_machine_has_put_them() {
    let uid = "0f6b1c6e-1111-2222-3333-444455556666";
    let low = uid.replace('-', "_");
    let slices = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{low}.slice");
    for (text, expected) in [
        ("0::/system.slice/orders.service\n", vec!["systemd:orders.service"]),
        ("0::/system.slice/orders.service/deeper/x.scope\n", vec!["systemd:orders.service"]),
        ("0::/init.scope\n", vec!["systemd:init.scope"]),
        ("0::/system.slice/system-getty.slice/getty@tty1.service\n", vec!["systemd:getty@tty1.service"]),
        ("0::/system.slice/_cpu.service\n", vec!["systemd:cpu.service"]),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", vec!["systemd:session-2.scope"]),
        // What users make below their own manager is theirs.
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/orders.service\n",
            vec!["systemd:user@1000.service"],
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/system.slice/o.service\n",
            vec!["systemd:user@1000.service"],
        ),
        ("0::/docker/0123/system.slice/orders.service\n", vec![]),
        ("0::/system.slice\n", vec![]),
        ("0::/system.slice/orders\n", vec![]),
        ("0::/.slice/orders.service\n", vec![]),
        ("0::/\n", vec![]),
        (&format!("0::{slices}/cri-containerd-01.scope\n"), vec![&format!("k8s:pod-uid:{uid}")]),
        (
            &format!("0::/kubepods.slice/kubepods-pod{low}.slice/a.scope\n"),
            vec![&format!("k8s:pod-uid:{uid}")],
        ),
        (&format!("0::/kubepods/burstable/pod{uid}/0123\n"), vec![&format!("k8s:pod-uid:{uid}")]),
        (&format!("0::/kubepods/pod{uid}/0123\n"), vec![&format!("k8s:pod-uid:{uid}")]),
        // Not the kubelet's: too deep, a class that is none, the wrong class, a pod within a pod.
        (&format!("0::/system.slice/x.service/kubepods/pod{uid}\n"), vec!["systemd:x.service"]),
        (&format!("0::/kubepods/other/pod{uid}\n"), vec![]),
        (
            &format!("0::/kubepods.slice/kubepods-besteffort.slice/kubepods-burstable-pod{low}.slice\n"),
            vec![],
        ),
        (&format!("0::/kubepods.slice/kubepods-pod{uid}.slice\n"), vec![]),
        (&format!("0::/kubepods/pod1/pod{uid}\n"), vec!["k8s:pod-uid:1"]),
        ("0::/kubepods/pod\n", vec![]),
        ("0::/kubepods/podA_B\n", vec![]),
    ] {
        let mut found: Vec<_> = cgroup::selectors(text).iter().map(ToString::to_string).collect();
        found.retain(|text| !text.starts_with("cgroup:"));
        assert_eq!(
            found.iter().filter(|text| expected.contains(&&***text)).count(),
            expected.len(),
            "{text}"
        );
        found.retain(|text| !expected.contains(&&**text) && !text.ends_with("cri-containerd-01.scope"));
        found.retain(|text| text != "systemd:a.scope");
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn the_cgroup_is_the_unified_one_or_that_of_systemd() {
    for (text, path) in [
        ("0::/a\n", Some("/a")),
        ("1:name=systemd:/b\n0::/a\n", Some("/a")),
        ("5:memory:/m\n1:name=systemd:/b\n0::/\n", Some("/b")),
        ("5:memory:/m\n1:name=systemd:/b\n", Some("/b")),
        ("1:cpu,name=systemd:/b\n", Some("/b")),
        ("0::/\n", Some("/")),
        ("0::/a:b\n", Some("/a:b")),
        ("5:memory:/m\n", None),
        ("10::/a\n", None),
        ("0::/../outside/x.service\n", None),
        ("0::/..\n", None),
        ("0::relative\n", None),
        ("0::\n", None),
        ("0:/a\n", None),
        ("", None),
        ("\n\n:::\n", None),
    ] {
        let found = cgroup::selectors(text);
        let expected = path.map(|path| format!("cgroup:{path}"));
        assert_eq!(found.first().map(ToString::to_string), expected, "{text:?}");
        assert!(path.is_some() || found.is_empty(), "{text:?}: {found:?}");
    }
}

#[test]
fn each_refusal_has_a_reason_and_somebody_at_fault() {
    let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let changed = AttestError::Changed { pid: 1, what: "uid", was: "1".into(), is: "2".into() };
    for (problem, reason, is_own) in [
        (AttestError::Exited { pid: 1 }, "caller_exited", false),
        (AttestError::Closed { peer }, "caller_exited", false),
        (changed, "caller_changed", false),
        (AttestError::NotLocal { peer, local: peer }, "caller_not_local", false),
        (AttestError::Ambiguous { peer, most: 16 }, "caller_ambiguous", false),
        (AttestError::Hidden, "caller_hidden", false),
        (AttestError::NotPermitted { what: "it".into() }, "attestation_failed", true),
        (AttestError::failed("do it", "no"), "attestation_failed", true),
    ] {
        assert_eq!((problem.reason(), problem.is_own_fault()), (reason, is_own), "{problem}");
    }
}
