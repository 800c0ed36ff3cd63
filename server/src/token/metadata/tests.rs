use super::{answer::Media, *};

const V1: &str = "/computeMetadata/v1/instance/service-accounts/";
const ORDERS: &str = "orders@shop.example";
const SPIFFE: &str = "spiffe://shop.example/ns/orders";
const MAIL_OR_ID: [&str; 2] = [ORDERS, SPIFFE];

fn accounts() -> Vec<Account> {
    let account = |(name, scopes): (&str, &[&str])| Account {
        name: name.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
    };
    MAIL_OR_ID.into_iter().zip([&["read", "write"][..], &[]]).map(account).collect()
}

fn good(path_and_query: &str) -> Asked<'_> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    Asked { method: "GET", path, query, has_flavor: true, is_forwarded: false }
}

fn next(asked: &Asked<'_>) -> Next {
    match Question::read(asked) {
        Ok(question) => question.of(&accounts()),
        Err(answer) => Next::Answer(answer),
    }
}

/// The status, the media type and the body of what is no token.
fn answered(asked: &Asked<'_>) -> (u16, &'static str, String) {
    match next(asked) {
        Next::Answer(answer) => (answer.status, answer.media.as_str(), answer.body),
        Next::Issue(order) => panic!("{asked:?} is {order:?}"),
    }
}

fn order(path_and_query: &str) -> Order {
    match next(&good(path_and_query)) {
        Next::Issue(order) => order,
        Next::Answer(answer) => panic!("{path_and_query} is {answer:?}"),
    }
}

#[test]
fn places_have_their_listings_and_values() {
    let v1 = |rest: &str| format!("{V1}{rest}");
    let leaves = "aliases\nemail\nidentity\nscopes\ntoken\n";
    let all = "default/\norders@shop.example/\nspiffe://shop.example/ns/orders/\n";
    for (place, body) in [
        ("/".to_owned(), "computeMetadata/\n"),
        ("/computeMetadata".to_owned(), "v1/\n"),
        ("/computeMetadata/".to_owned(), "v1/\n"),
        ("/computeMetadata/v1".to_owned(), "instance/\n"),
        ("/computeMetadata/v1/".to_owned(), "instance/\n"),
        ("/computeMetadata/v1/?recursive=false".to_owned(), "instance/\n"),
        ("/computeMetadata/v1/instance".to_owned(), "service-accounts/\n"),
        ("/computeMetadata/v1/instance/service-accounts".to_owned(), all),
        (v1(""), all),
        (v1("default"), leaves),
        (v1("default/"), leaves),
        (v1("orders@shop.example/"), leaves),
        (v1("orders%40shop.example/"), leaves),
        (v1("default/email"), ORDERS),
        (v1("default/email?last_etag=0&timeout_sec=1&whatever"), ORDERS),
        (v1("orders%40shop.example/email"), ORDERS),
        (v1("default/aliases"), "default\n"),
        (v1("orders@shop.example/aliases"), "default\n"),
        (v1("default/scopes"), "read\nwrite\n"),
        // As it is, as it has to be written in a path, and as libraries write it that join paths.
        (v1("spiffe://shop.example/ns/orders/email"), SPIFFE),
        (v1("spiffe%3A%2F%2Fshop.example%2Fns%2Forders/email"), SPIFFE),
        (v1("spiffe:/shop.example/ns/orders/email"), SPIFFE),
        (v1("spiffe:/shop.example/ns/orders/aliases"), ""),
        (v1("spiffe:/shop.example/ns/orders/scopes"), ""),
    ] {
        assert_eq!(answered(&good(&place)), (200, "application/text", body.to_owned()), "{place}");
    }
}

#[test]
fn everything_at_once_is_json_unless_text_is_asked_for() {
    let first = r#"{"aliases":["default"],"email":"orders@shop.example","scopes":["read","write"]}"#;
    let second = r#"{"aliases":[],"email":"spiffe://shop.example/ns/orders","scopes":[]}"#;
    let both = format!(
        r#"{{"default":{first},"orders@shop.example":{first},"spiffe://shop.example/ns/orders":{second}}}"#
    );
    for (place, body) in [
        (format!("{V1}default/?recursive=true"), first.to_owned()),
        (format!("{V1}default?recursive=True&alt=json"), first.to_owned()),
        (format!("{V1}orders%40shop.example/?recursive=true"), first.to_owned()),
        (format!("{V1}spiffe:/shop.example/ns/orders/?recursive=true"), second.to_owned()),
        (format!("{V1}?recursive=true"), both.clone()),
        (
            "/computeMetadata/v1/instance/?recursive=true".to_owned(),
            format!(r#"{{"serviceAccounts":{both}}}"#),
        ),
        (
            "/computeMetadata/v1/?recursive=true".to_owned(),
            format!(r#"{{"instance":{{"serviceAccounts":{both}}}}}"#),
        ),
        (format!("{V1}default/email?alt=json"), format!("\"{ORDERS}\"")),
        (format!("{V1}default/scopes?alt=json"), r#"["read","write"]"#.to_owned()),
        (format!("{V1}default/?alt=json"), r#"["aliases","email","identity","scopes","token"]"#.to_owned()),
    ] {
        assert_eq!(answered(&good(&place)), (200, "application/json", body), "{place}");
    }
    let text = "aliases default\nemail orders@shop.example\nscopes read\nscopes write\n";
    let place = format!("{V1}default/?recursive=true&alt=text");
    assert_eq!(answered(&good(&place)), (200, "application/text", text.to_owned()));
    let (_, _, text) = answered(&good("/computeMetadata/v1/?alt=text&recursive=true"));
    assert!(text.starts_with("instance/service-accounts/default/aliases default\n"), "{text}");
    assert!(
        text.ends_with("/spiffe://shop.example/ns/orders/email spiffe://shop.example/ns/orders\n"),
        "{text}"
    );
}

#[test]
fn what_is_refused_is_refused_with_a_status_and_a_text() {
    const NO_FLAVOR: &str = "Missing Metadata-Flavor:Google header.";
    const FORWARDED: &str =
        "requests with X-Forwarded-For are refused: ask directly, and not for somebody else";
    const METHOD: &str = "the metadata server takes GET only";
    const NOTHING: &str = "there is nothing at this path of the metadata server";
    const NOBODY: &str = "the caller has no such account; its accounts are at instance/service-accounts/";
    const AUDIENCE: &str = "non-empty audience parameter required";
    const TWICE: &str = "a parameter is there twice";
    const ESCAPE: &str = "the query has an escape that is none, or no UTF-8";
    let token = format!("{V1}default/token");
    let long = format!("{token}?x={}", "x".repeat(8_191));
    let many = format!("{token}?scopes={}", "s,".repeat(65));
    let v1 = |rest: &str| format!("{V1}{rest}");
    let with =
        |change: fn(&mut Asked<'_>), place: &str, status, text| (change, place.to_owned(), status, text);
    let plain = |place: &str, status, text| with(|_| {}, place, status, text);
    for (change, place, status, text) in [
        with(|asked| asked.has_flavor = false, &token, 403, NO_FLAVOR),
        with(|asked| asked.has_flavor = false, V1, 403, NO_FLAVOR),
        with(|asked| asked.has_flavor = false, "/computeMetadata/v1/", 403, NO_FLAVOR),
        with(|asked| asked.has_flavor = false, "/computeMetadata/v1/nothing", 403, NO_FLAVOR),
        with(|asked| asked.is_forwarded = true, &token, 403, FORWARDED),
        with(|asked| asked.is_forwarded = true, "/", 403, FORWARDED),
        with(|asked| (asked.has_flavor, asked.is_forwarded) = (false, true), &token, 403, FORWARDED),
        with(|asked| asked.method = "POST", &token, 405, METHOD),
        with(|asked| asked.method = "PUT", "/", 405, METHOD),
        with(|asked| asked.method = "HEAD", &token, 405, METHOD),
        with(|asked| asked.method = "DELETE", &v1("nobody@shop.example/"), 405, METHOD),
        with(|asked| asked.method = "get", &token, 405, METHOD),
        plain("/computeMetadata/v1beta1/", 404, NOTHING),
        plain("/computemetadata/v1/", 404, NOTHING),
        plain("//computeMetadata/v1/", 404, NOTHING),
        plain("/computeMetadata/v1//", 404, NOTHING),
        plain("/computeMetadata/v1/../v1/", 404, NOTHING),
        plain("/computeMetadata/v1/project/project-id", 404, NOTHING),
        plain("/computeMetadata/v1/project/numeric-project-id", 404, NOTHING),
        plain("/computeMetadata/v1/universe/universe-domain", 404, NOTHING),
        plain("/computeMetadata/v1/instance/id", 404, NOTHING),
        plain("/computeMetadata/v1/instance/zone", 404, NOTHING),
        plain("/computeMetadata/v1/instance/attributes/?recursive=true", 404, NOTHING),
        plain("/computeMetadata/v1/instance/service-accountsx/default/email", 404, NOTHING),
        plain(&v1("default/%zz"), 404, NOTHING),
        plain(&v1("default/%ff"), 404, NOTHING),
        plain(&v1("default/%4"), 404, NOTHING),
        plain(&v1("default/emails"), 404, NOTHING),
        plain(&v1("default/email/"), 404, NOTHING),
        plain(&v1("default/token/"), 404, NOTHING),
        plain(&v1("default//email"), 404, NOTHING),
        plain(&v1("default/Identity"), 404, NOTHING),
        plain(&v1("/"), 404, NOBODY),
        plain(&v1("defaulted/email"), 404, NOBODY),
        plain(&v1("Default/email"), 404, NOBODY),
        plain(&v1("nobody@shop.example/email"), 404, NOBODY),
        plain(&v1("nobody@shop.example/token"), 404, NOBODY),
        plain(&v1("nobody@shop.example/?recursive=true"), 404, NOBODY),
        plain(&v1("Orders@shop.example/token"), 404, NOBODY),
        plain(&v1("orders@shop.example.net/token"), 404, NOBODY),
        plain(&v1("../default/token"), 404, NOBODY),
        plain(&v1("spiffe://shop.example/ns/token"), 404, NOBODY),
        plain(&v1("spiffe://shop.example/ns/orders2/token"), 404, NOBODY),
        plain(&v1("default/identity"), 400, AUDIENCE),
        plain(&v1("default/identity?audience="), 400, AUDIENCE),
        plain(&v1("default/identity?audience=+%20"), 400, AUDIENCE),
        plain(&v1("default/identity?Audience=a"), 400, AUDIENCE),
        plain(&v1("default/identity?format=full"), 400, AUDIENCE),
        plain(&v1("default/identity?audience=a&audience=b"), 400, TWICE),
        plain(&v1("default/identity?audience=a&audience=a"), 400, TWICE),
        plain(&v1("default/identity?audience=a&format=compact"), 400, "format must be standard or full"),
        plain(&v1("default/identity?audience=%"), 400, ESCAPE),
        plain(&v1("default/identity?audience=%g0"), 400, ESCAPE),
        plain(&v1("default/identity?audience=%ff"), 400, ESCAPE),
        plain(&v1("default/?recursive=yes"), 400, "recursive must be true or false"),
        plain(&v1("default/?recursive=true&recursive=true"), 400, TWICE),
        plain(&v1("default/email?alt=xml"), 400, "alt must be json or text"),
        plain(&v1("default/token?wait_for_change=true"), 400, "wait_for_change is not served here"),
        plain(&v1("default/token?scopes=a&scopes=b"), 400, TWICE),
        plain(&many, 400, "there are too many scopes"),
        plain(&long, 400, "the query is too long"),
    ] {
        let mut asked = good(&place);
        change(&mut asked);
        let expected = (status, "text/plain; charset=utf-8", format!("{text}\n"));
        assert_eq!(answered(&asked), expected, "{asked:?}");
    }
}

#[test]
fn whether_there_is_a_metadata_server_may_be_asked_without_the_header() {
    for path in ["/", "/computeMetadata", "/computeMetadata/"] {
        let answer = answered(&Asked { has_flavor: false, ..good(path) });
        assert_eq!(answer.0, 200, "{path}");
    }
}

#[test]
fn a_token_is_ordered_for_one_account_of_the_caller() {
    let identity = |audience: &str, with_email| Kind::Identity { audience: audience.to_owned(), with_email };
    let access =
        |scopes: &[&str]| Kind::Access { scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect() };
    for (place, account, kind) in [
        ("default/identity?audience=https://a.example", ORDERS, identity("https://a.example", false)),
        (
            "default/identity?audience=https%3A%2F%2Fa.example%2F&format=full",
            ORDERS,
            identity("https://a.example/", true),
        ),
        ("default/identity?format=standard&audience=a+b&licenses=TRUE", ORDERS, identity("a b", false)),
        ("default/token", ORDERS, access(&["read", "write"])),
        ("default/token?scopes=", ORDERS, access(&["read", "write"])),
        ("default/token?scopes=read,https%3A%2F%2Fx", ORDERS, access(&["read", "https://x"])),
        ("default/token?scopes=a%20b,", ORDERS, access(&["a", "b"])),
        ("default/token?recursive=true&alt=text", ORDERS, access(&["read", "write"])),
        ("orders@shop.example/token", ORDERS, access(&["read", "write"])),
        ("spiffe:/shop.example/ns/orders/token", SPIFFE, access(&[])),
        ("spiffe://shop.example/ns/orders/identity?audience=a", SPIFFE, identity("a", false)),
    ] {
        assert_eq!(order(&format!("{V1}{place}")), Order { account: account.to_owned(), kind }, "{place}");
    }
    let answer = order(&format!("{V1}default/identity?audience=a")).filled("a.b.c", 600);
    assert_eq!((answer.media, answer.body.as_str()), (Media::Value, "a.b.c"));
    let answer = order(&format!("{V1}default/token")).filled("a.b.c", 600);
    let expected = r#"{"access_token":"a.b.c","expires_in":600,"token_type":"Bearer"}"#;
    assert_eq!((answer.media, answer.body.as_str()), (Media::Json, expected));
}

#[test]
fn of_two_accounts_the_longer_name_counts() {
    let accounts = ["spiffe://a/b", "spiffe://a/b/email"]
        .map(|name| Account { name: name.to_owned(), scopes: Vec::new() });
    for (rest, account, leaf) in [
        ("spiffe://a/b/email", "spiffe://a/b/email", ""),
        ("spiffe://a/b/email/email", "spiffe://a/b/email", "email"),
        ("spiffe:/a/b/token", "spiffe://a/b", "token"),
    ] {
        let found = find(rest, &accounts).map(|(found, _, leaf)| (found.name.as_str(), leaf));
        assert_eq!(found, Some((account, leaf)));
    }
    assert_eq!(find("default/email", &[]), None);
}
