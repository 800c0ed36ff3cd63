//! Who may ask at the admin socket: root, and the user that the daemon runs as. The mode of the socket's file says
//! the same; but a file can be given away, and a directory moved.

use tonic::{Status, codegen::http::Extensions};

use crate::attest::Caller;

const ROOT: u32 = 0;

/// Refuses the callers that the kernel does not say to be root or `own`.
pub(super) fn check(extensions: &Extensions, own: u32) -> Result<(), Status> {
    decide(extensions.get::<Caller>().and_then(Caller::uid), own).map_err(|text| {
        tracing::warn!(reason = "admin_denied", "an admin request is refused: {text}");
        Status::permission_denied(format!("admin_denied: {text}"))
    })
}

fn decide(uid: Option<u32>, own: u32) -> Result<(), String> {
    match uid {
        Some(uid) if uid == ROOT || uid == own => Ok(()),
        Some(uid) => {
            let or =
                if own == ROOT { String::new() } else { format!(" and uid {own}, which altsd runs as,") };
            Err(format!("the caller has uid {uid}; only root{or} may ask here"))
        }
        None => Err("the kernel does not say who the caller is".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_user_of_the_daemon_are_let_in() {
        for (uid, own) in [(0, 0), (0, 7), (7, 7)] {
            assert_eq!(decide(Some(uid), own), Ok(()));
        }
    }

    #[test]
    fn everybody_else_is_refused_and_told_why() {
        let cases = [
            (Some(8), 7, "the caller has uid 8; only root and uid 7, which altsd runs as, may ask here"),
            (Some(1), 0, "the caller has uid 1; only root may ask here"),
            (
                Some(u32::MAX),
                7,
                "the caller has uid 4294967295; only root and uid 7, which altsd runs as, may ask here",
            ),
            (None, 0, "the kernel does not say who the caller is"),
        ];
        for (uid, own, text) in cases {
            assert_eq!(decide(uid, own), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_connection_of_unknown_origin_is_refused() {
        let status = check(&Extensions::new(), 0).expect_err("nobody is named");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert!(status.message().starts_with("admin_denied: "), "{}", status.message());
    }
}
