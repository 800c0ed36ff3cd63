//! A part of a long list: its size, and how the next one is asked for. A token names the last resource of its page,
//! so that whatever comes or goes between two pages, none that stays is left out or comes twice.

use prost::Message;
use tonic::{Code, Status};

use super::refusal::refuse;

/// Resources of a page, where the request does not say how many, and the most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// A page ends behind the resource that makes it this large, in bytes. No resource is larger than half of it, and
/// clients take 4 MiB.
const MAX_BYTES: usize = 2 << 20;

/// How many resources are wanted.
pub(super) fn size(page_size: i32) -> Result<usize, Status> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => {
            let text = format!("page_size is {page_size}; give 0 for the default, or more");
            Err(refuse(Code::InvalidArgument, "page_size_invalid", &text))
        }
    }
}

/// What is said of a token that no page has given.
pub(super) fn token_invalid() -> Status {
    let text = "give the next_page_token of the page before, or none for the first";
    refuse(Code::InvalidArgument, "page_token_invalid", text)
}

/// The first of `rows`, made into messages, and the token of the last one if more follow.
pub(super) fn fill<R, M: Message>(
    rows: impl IntoIterator<Item = R>,
    size: usize,
    message: impl Fn(&R) -> M,
    token: impl Fn(&R) -> String,
) -> (Vec<M>, String) {
    let mut rows = rows.into_iter().peekable();
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next() {
        let message = message(&row);
        bytes += message.encoded_len();
        page.push(message);
        if page.len() >= size || bytes >= MAX_BYTES {
            let next = if rows.peek().is_some() { token(&row) } else { String::new() };
            return (page, next);
        }
    }
    (page, String::new())
}

#[cfg(test)]
mod tests {
    use alts_proto::altsd::TargetName;

    use super::*;

    fn filled(rows: &[usize], size: usize) -> (Vec<usize>, String) {
        let message =
            |length: &usize| TargetName { description: "x".repeat(*length), ..TargetName::default() };
        let (page, next) = fill(rows.to_vec(), size, message, ToString::to_string);
        (page.into_iter().map(|message| message.description.len()).collect(), next)
    }

    #[test]
    fn a_page_ends_with_its_size_or_its_bytes_and_says_whether_more_follows() {
        assert_eq!(filled(&[], 2), (vec![], String::new()));
        assert_eq!(filled(&[1, 2], 2), (vec![1, 2], String::new()));
        assert_eq!(filled(&[1, 2, 3], 2), (vec![1, 2], "2".to_owned()));
        let half = MAX_BYTES / 2;
        assert_eq!(filled(&[half, half, 3], 9), (vec![half, half], half.to_string()));
        assert_eq!(filled(&[2 * MAX_BYTES, 3], 9).0, vec![2 * MAX_BYTES]);
        assert_eq!(filled(&[half, half], 9).1, "");
    }

    #[test]
    fn a_size_is_bounded_and_not_negative() {
        for (asked, given) in [(0, 100), (1, 1), (1_000, 1_000), (i32::MAX, 1_000)] {
            assert_eq!(size(asked).expect("it is a size"), given);
        }
        for asked in [-1, i32::MIN] {
            assert_eq!(size(asked).expect_err("it is none").code(), Code::InvalidArgument);
        }
    }
}
