//! One good result, and everything that can be wrong with it.

use alts_proto::gcp::rpc_protocol_versions::Version;

use super::*;

const OWN: FrameLimit = FrameLimit::nearest(100_000);

fn good() -> HandshakerResult {
    let attributes = [("altsd.context", "h4ndle"), ("spiffe_id", "spiffe://b/a")];
    HandshakerResult {
        application_protocol: "grpc".to_owned(),
        record_protocol: "ALTSRP_GCM_AES128_REKEY".to_owned(),
        key_data: vec![7; 128],
        peer_identity: Some(Identity {
            identity_oneof: Some(IdentityOneof::ServiceAccount("a@b".to_owned())),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }),
        local_identity: Some(Identity {
            identity_oneof: Some(IdentityOneof::ServiceAccount("c@d".to_owned())),
            ..Default::default()
        }),
        peer_rpc_versions: versions((2, 1), (2, 1)),
        max_frame_size: 1 << 20,
        ..Default::default()
    }
}

fn versions(max: (u32, u32), min: (u32, u32)) -> Option<RpcProtocolVersions> {
    let version = |(major, minor)| Some(Version { major, minor });
    Some(RpcProtocolVersions { max_rpc_version: version(max), min_rpc_version: version(min) })
}

fn named(identity: IdentityOneof) -> Option<Identity> {
    Some(Identity { identity_oneof: Some(identity), ..Default::default() })
}

#[test]
fn a_good_result_says_who_is_there_and_what_protects_it() {
    let agreed = Agreed::of(good(), OWN).expect("it is good");
    let info = agreed.info;
    assert_eq!((info.peer_service_account(), info.local_service_account()), ("a@b", "c@d"));
    assert_eq!((info.application_protocol(), info.record_protocol()), ("grpc", "ALTSRP_GCM_AES128_REKEY"));
    assert_eq!(info.security_level(), SecurityLevel::IntegrityAndPrivacy);
    assert_eq!(info.peer_rpc_versions(), ((2, 1), (2, 1)));
    assert_eq!(agreed.send_limit, OWN);
}

#[test]
fn the_handle_of_a_handshake_is_no_attribute_and_is_not_shown() {
    let info = Agreed::of(good(), OWN).expect("it is good").info;
    assert_eq!(info.token_exchange_handle(), Some("h4ndle"));
    assert_eq!(*info.peer_attributes(), [("spiffe_id".to_owned(), "spiffe://b/a".to_owned())].into());
    let shown = format!("{info:?}");
    assert!(shown.contains("a@b") && shown.contains("\"spiffe_id\""), "{shown}");
    assert!(!shown.contains("h4ndle") && !shown.contains("spiffe://"), "{shown}");
}

#[test]
fn what_may_differ_is_accepted() {
    type Change = fn(&mut HandshakerResult);
    let cases: &[(&str, Change)] = &[
        ("a key of just the length", |result| result.key_data.truncate(44)),
        ("an own identity without a name", |result| result.local_identity = Some(Identity::default())),
        ("no frame size", |result| result.max_frame_size = 0),
        ("a wider range of versions", |result| result.peer_rpc_versions = versions((3, 0), (1, 9))),
        ("higher versions too", |result| result.peer_rpc_versions = versions((2, 7), (2, 1))),
        ("lower versions too", |result| result.peer_rpc_versions = versions((2, 1), (0, 0))),
    ];
    for (what, change) in cases {
        let mut result = good();
        change(&mut result);
        assert!(Agreed::of(result, OWN).is_ok(), "{what}");
    }
}

#[test]
fn what_must_be_there_and_is_not_is_named_with_its_value() {
    type Change = fn(&mut HandshakerResult);
    let cases: &[(Change, &str, &str)] = &[
        (|result| result.application_protocol.clear(), "result.application_protocol", "is empty"),
        (
            |result| result.application_protocol = "gRPC".to_owned(),
            "result.application_protocol",
            "is \"gRPC\", which was not offered",
        ),
        (|result| result.record_protocol.clear(), "result.record_protocol", "is empty"),
        (
            |result| result.record_protocol = "ALTSRP_GCM_AES128".to_owned(),
            "result.record_protocol",
            "is \"ALTSRP_GCM_AES128\", which was not offered",
        ),
        // Known, and without encryption.
        (
            |result| result.record_protocol = "ALTSRP_GMAC_128".to_owned(),
            "result.record_protocol",
            "is \"ALTSRP_GMAC_128\", which was not offered",
        ),
        (
            |result| result.key_data.clear(),
            "result.key_data",
            "has 0 bytes, ALTSRP_GCM_AES128_REKEY wants 44",
        ),
        (
            |result| result.key_data.truncate(43),
            "result.key_data",
            "has 43 bytes, ALTSRP_GCM_AES128_REKEY wants 44",
        ),
        (|result| result.peer_identity = None, "result.peer_identity", "is missing"),
        (
            |result| result.peer_identity = Some(Identity::default()),
            "result.peer_identity.service_account",
            "is missing",
        ),
        (
            |result| result.peer_identity = named(IdentityOneof::ServiceAccount(String::new())),
            "result.peer_identity.service_account",
            "is empty",
        ),
        // It would be another line in a log.
        (
            |result| result.peer_identity = named(IdentityOneof::ServiceAccount("a@b\nc@d".to_owned())),
            "result.peer_identity.service_account",
            "is \"a@b c@d\", with characters that are not shown",
        ),
        (
            |result| result.peer_identity = named(IdentityOneof::ServiceAccount("a@b\u{202e}".to_owned())),
            "result.peer_identity.service_account",
            "is \"a@b \", with characters that are not shown",
        ),
        (
            |result| result.peer_identity = named(IdentityOneof::Hostname("a@b".to_owned())),
            "result.peer_identity.service_account",
            "is missing, there is the host name \"a@b\"",
        ),
        (|result| result.local_identity = None, "result.local_identity", "is missing"),
        (|result| result.peer_rpc_versions = None, "result.peer_rpc_versions", "is missing"),
    ];
    for (change, expected_field, expected_problem) in cases {
        let mut result = good();
        change(&mut result);
        let error = Agreed::of(result, OWN).err().expect(expected_field);
        let Error::Contract { field, problem } = &error else { panic!("{error}") };
        assert_eq!((field, &**problem), (expected_field, *expected_problem));
    }
}

#[test]
fn versions_without_ours_are_refused_with_both() {
    let cases = [
        (versions((2, 0), (2, 0)), "2.0 to 2.0"),
        (versions((2, 2), (2, 2)), "2.2 to 2.2"),
        (versions((1, 9), (1, 0)), "1.0 to 1.9"),
        (versions((3, 1), (3, 0)), "3.0 to 3.1"),
        // The wrong way round.
        (versions((2, 0), (2, 2)), "2.2 to 2.0"),
        (Some(RpcProtocolVersions::default()), "0.0 to 0.0"),
        (
            Some(RpcProtocolVersions {
                max_rpc_version: None,
                ..versions((2, 1), (2, 1)).expect("it is some")
            }),
            "2.1 to 0.0",
        ),
    ];
    for (versions, expected) in cases {
        let error = Agreed::of(HandshakerResult { peer_rpc_versions: versions, ..good() }, OWN);
        let error = error.err().expect(expected);
        assert!(matches!(error, Error::RpcVersions { .. }), "{error}");
        let text = error.to_string();
        assert_eq!(text, format!("the other side speaks rpc versions {expected}, this one 2.1 to 2.1"));
    }
}

#[test]
fn this_end_sends_no_more_than_either_takes_and_everybody_takes_16_kib() {
    let cases = [
        (0, 1 << 20, 16 << 10),
        (1, 1 << 20, 16 << 10),
        (16 << 10, 1 << 20, 16 << 10),
        (100_000, 1 << 20, 100_000),
        (1 << 20, 1 << 20, 1 << 20),
        (u32::MAX, 1 << 20, 1 << 20),
        (1 << 20, 20_000, 20_000),
    ];
    for (peer, own, expected) in cases {
        let result = HandshakerResult { max_frame_size: peer, ..good() };
        let agreed = Agreed::of(result, FrameLimit::nearest(own)).expect("it is good");
        assert_eq!(agreed.send_limit.bytes(), expected, "{peer} and {own}");
    }
}
