//! What the handshaker tells a program about itself, `altsd.v1.Caller`. A program may know what it is, and which
//! workload that makes it; what it would have to be, to be another, is for the operator.

use alts_proto::altsd::{Denial, WhoAmIResponse, who_am_i_response::Mode};

/// What was found out about a caller.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Nothing: every caller of the listener has this account.
    Fixed { account: String },
    /// What the kernel says, and the workload that this makes it.
    Attested { selectors: Vec<String>, process_ids: Vec<u32>, workload: Result<Matched, Denial> },
    /// The kernel does not say who it is.
    Unknown(Denial),
}

/// The workload that a caller is.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    /// The first is the one it gets without asking.
    pub(super) accounts: Vec<String>,
    pub(super) selectors: Vec<String>,
}

/// The answer to a caller about itself.
pub(super) fn answer(found: Found) -> WhoAmIResponse {
    match found {
        Found::Fixed { account } => {
            WhoAmIResponse { mode: Mode::Fixed.into(), accounts: vec![account], ..Default::default() }
        }
        Found::Attested { selectors, process_ids, workload } => {
            let answer =
                WhoAmIResponse { mode: Mode::Attested.into(), selectors, process_ids, ..Default::default() };
            match workload {
                Ok(Matched { accounts, selectors }) => {
                    WhoAmIResponse { accounts, workload_selectors: selectors, ..answer }
                }
                Err(denial) => WhoAmIResponse { denial: Some(denial), ..answer },
            }
        }
        Found::Unknown(denial) => {
            WhoAmIResponse { mode: Mode::Attested.into(), denial: Some(denial), ..Default::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn denial(reason: &str) -> Denial {
        Denial { reason: reason.to_owned(), message: "why".to_owned() }
    }

    #[test]
    fn a_fixed_listener_tells_its_account_and_that_it_did_not_look() {
        let answer = answer(Found::Fixed { account: "a@b".to_owned() });
        let expected =
            WhoAmIResponse { mode: Mode::Fixed.into(), accounts: strings(&["a@b"]), ..Default::default() };
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_workload_is_told_what_it_is_and_which_selectors_made_it_so() {
        let matched = Matched { accounts: strings(&["a@b", "c@b"]), selectors: strings(&["uid:7"]) };
        let selectors = strings(&["uid:7", "gid:7"]);
        let found =
            Found::Attested { selectors: selectors.clone(), process_ids: vec![42], workload: Ok(matched) };
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            selectors,
            process_ids: vec![42],
            accounts: strings(&["a@b", "c@b"]),
            workload_selectors: strings(&["uid:7"]),
            denial: None,
        };
        assert_eq!(answer(found), expected);
    }

    #[test]
    fn who_is_no_workload_is_told_what_it_is_and_nothing_of_others() {
        let found = Found::Attested {
            selectors: strings(&["uid:8"]),
            process_ids: vec![42],
            workload: Err(denial("workload_unknown")),
        };
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            selectors: strings(&["uid:8"]),
            process_ids: vec![42],
            denial: Some(denial("workload_unknown")),
            ..Default::default()
        };
        assert_eq!(answer(found), expected);
    }

    #[test]
    fn who_cannot_be_looked_at_is_told_why_and_granted_nothing() {
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            denial: Some(denial("caller_exited")),
            ..Default::default()
        };
        assert_eq!(answer(Found::Unknown(denial("caller_exited"))), expected);
    }
}
