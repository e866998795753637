use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

fn told(fields: &[(&'static str, &str)]) -> Told {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    Told::by(&Proxies::new(&["10.0.0.0/8", "::1"]).unwrap(), &headers)
}

fn address(fields: &[(&'static str, &str)]) -> Option<String> {
    told(fields).address.map(|address| address.to_string())
}

#[test]
fn forwarded_is_read_from_the_right_to_the_first_that_is_not_trusted() {
    let of = |value: &str| address(&[("forwarded", value)]);
    assert_eq!(of("for=192.0.2.60"), Some("192.0.2.60".into()));
    assert_eq!(of("for=1.1.1.1, for=192.0.2.60, for=10.1.1.1"), Some("192.0.2.60".into()));
    assert_eq!(of("for=10.3.3.3, for=10.1.1.1"), Some("10.3.3.3".into()), "all are trusted: the first one");
    assert_eq!(of("FOR=\"[2001:db8::17]:4711\";proto=https"), Some("2001:db8::17".into()));
    assert_eq!(of("for=\"192.0.2.60:80\""), Some("192.0.2.60".into()));
    assert_eq!(of("for=\"::ffff:192.0.2.60\""), Some("192.0.2.60".into()));
    assert_eq!(of("for=unknown, for=10.1.1.1"), Some("10.1.1.1".into()));
    assert_eq!(of("for=_hidden"), None);
    assert_eq!(of("for=192.0.2.60, garbage"), None, "what cannot be read ends it");
}

#[test]
fn a_stray_quote_of_the_client_swallows_nothing() {
    let of = |value: &str| address(&[("forwarded", value)]);
    assert_eq!(of("for=\"1.1.1.1, for=192.0.2.60"), Some("192.0.2.60".into()));
    assert_eq!(of("for=\"a,b\", for=192.0.2.60"), Some("192.0.2.60".into()));
    assert_eq!(of("for=1.1.1.1;host=\"a,for=9.9.9.9\""), Some("1.1.1.1".into()));
}

#[test]
fn several_fields_are_one_list() {
    assert_eq!(
        address(&[("forwarded", "for=1.1.1.1"), ("forwarded", "for=192.0.2.60")]),
        Some("192.0.2.60".into())
    );
    assert_eq!(
        address(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.60, 10.0.0.1")]),
        Some("192.0.2.60".into())
    );
}

#[test]
fn the_other_fields_tell_the_same_where_forwarded_is_absent() {
    let nginx = told(&[
        ("x-forwarded-for", "192.0.2.60"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "example.org"),
        ("x-forwarded-port", "8443"),
    ]);
    let expected = Told {
        address: "192.0.2.60".parse().ok(),
        is_https: Some(true),
        host: Some("example.org:8443".into()),
    };
    assert_eq!(nginx, expected);
    let usual =
        told(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "a"), ("x-forwarded-port", "443")]);
    assert_eq!((usual.host.as_deref(), usual.address), (Some("a"), None));
    let both = told(&[("forwarded", "for=192.0.2.1"), ("x-forwarded-for", "192.0.2.2")]);
    assert_eq!(both.address, "192.0.2.1".parse().ok(), "Forwarded wins");
}

#[test]
fn protocols_belong_to_their_hops() {
    let two = told(&[("x-forwarded-for", "192.0.2.60, 10.0.0.1"), ("x-forwarded-proto", "https, http")]);
    assert_eq!(two.is_https, Some(true));
    let client_lies =
        told(&[("forwarded", "for=1.1.1.1;proto=https;host=evil, for=192.0.2.60;proto=http;host=good")]);
    assert_eq!((client_lies.is_https, client_lies.host.as_deref()), (Some(false), Some("good")));
}

#[test]
fn hosts_and_protocols_that_are_none_are_absent() {
    let wrong = told(&[("forwarded", "for=192.0.2.60;proto=gopher;host=\"a b\"")]);
    assert_eq!((wrong.is_https, wrong.host), (None, None));
    assert_eq!(told(&[("x-forwarded-host", "user@host")]).host, None);
}

#[test]
fn networks_are_checked() {
    assert!(Proxies::new(&["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", " ::1 "]).is_ok());
    let wrong = Proxies::new(&["10.0.0.0/8", "proxy.example"]).expect_err("a name");
    assert_eq!(wrong, "\"proxy.example\" is no address and no network like 10.0.0.0/8");
    assert!(Proxies::new(&["10.0.0.0/99"]).is_err());
}
