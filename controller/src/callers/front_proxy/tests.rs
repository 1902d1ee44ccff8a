//! Who is the front proxy, and who only says so.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "front-proxy-ca");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(
    of: &Issuer,
    name: Option<&str>,
    usage: ExtendedKeyUsagePurpose,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![usage];
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, of).unwrap().der().clone()
}

fn data(authority: &Issuer) -> BTreeMap<String, String> {
    [
        ("client-ca-file", "is not read"),
        (
            "requestheader-allowed-names",
            r#"["front-proxy-client","other"]"#,
        ),
        ("requestheader-client-ca-file", &authority.pem()),
        (
            "requestheader-extra-headers-prefix",
            r#"["X-Remote-Extra-"]"#,
        ),
        ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
        ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
        ("requestheader-username-headers", r#"["X-Remote-User"]"#),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn day(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        (year - 1970) * 31_556_952 + 86_400 * 30,
    ))
}

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    map
}

const USED: ExtendedKeyUsagePurpose = ExtendedKeyUsagePurpose::ClientAuth;
const JANE: &[(&str, &[u8])] = &[
    ("x-remote-user", "jané".as_bytes()),
    ("x-remote-uid", b"7"),
    ("x-remote-group", b"dev"),
    ("x-remote-group", b"system:authenticated"),
    ("x-remote-extra-example.com%2fscopes", b"a"),
    ("x-remote-extra-example.com%2fscopes", b"b"),
];

#[test]
fn the_front_proxy_speaks_for_whom_it_names() {
    let ca = authority();
    let proxy = FrontProxy::parse(&data(&ca)).unwrap().unwrap();
    let shown = [client(&ca, Some("front-proxy-client"), USED)];
    let user = proxy
        .identify(&shown, &headers(JANE), day(2026))
        .unwrap()
        .unwrap();
    assert_eq!(user.username.as_deref(), Some("jané"));
    assert_eq!(user.uid.as_deref(), Some("7"));
    assert_eq!(user.groups.unwrap(), ["dev", "system:authenticated"]);
    let scopes = (
        "example.com/scopes".to_owned(),
        vec!["a".to_owned(), "b".to_owned()],
    );
    assert_eq!(
        user.extra.unwrap().into_iter().collect::<Vec<_>>(),
        [scopes]
    );
    // It may name nobody: then another proof is looked for.
    assert_eq!(
        proxy.identify(&shown, &headers(&JANE[1..]), day(2026)),
        Ok(None)
    );
}

#[test]
fn who_is_not_the_front_proxy_speaks_for_nobody() {
    let (ca, other) = (authority(), authority());
    let proxy = FrontProxy::parse(&data(&ca)).unwrap().unwrap();
    let good = client(&ca, Some("front-proxy-client"), USED);
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    for (shown, at, why) in [
        (vec![], 2026, "there is none"),
        (
            vec![client(&other, Some("front-proxy-client"), USED)],
            2026,
            "BadSignature",
        ),
        (
            vec![client(&ca, Some("kube-apiserver"), USED)],
            2026,
            "allowed-names",
        ),
        (vec![client(&ca, None, USED)], 2026, "no common name"),
        (
            vec![client(&ca, Some("front-proxy-client"), server)],
            2026,
            "client authentication",
        ),
        (vec![good.clone()], 2028, "Expired"),
        (vec![good.clone()], 2025, "NotValidYet"),
        (
            vec![CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])],
            2026,
            "BadEncoding",
        ),
    ] {
        let refused = proxy.identify(&shown, &headers(JANE), day(at));
        let error = refused.expect_err(why).to_lowercase();
        let spaced = |text: &str| text.to_lowercase().replace(' ', "");
        assert!(spaced(&error).contains(&spaced(why)), "{why}: {error}");
    }
    let garbage = headers(&[("x-remote-user", b"\xff")]);
    assert!(
        proxy
            .identify(&[good], &garbage, day(2026))
            .unwrap_err()
            .contains("UTF-8")
    );
}

#[test]
fn without_names_any_certificate_of_the_authority_will_do() {
    let ca = authority();
    let mut data = data(&ca);
    data.insert("requestheader-allowed-names".to_owned(), "[]".to_owned());
    let proxy = FrontProxy::parse(&data).unwrap().unwrap();
    let shown = [client(&ca, Some("anything"), USED)];
    assert!(
        proxy
            .identify(&shown, &headers(JANE), day(2026))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_bad_entry_is_named_and_no_authority_is_nobody() {
    let ca = authority();
    for name in [
        "requestheader-client-ca-file",
        "requestheader-group-headers",
    ] {
        let mut data = data(&ca);
        data.insert(name.to_owned(), "{".to_owned());
        assert!(FrontProxy::parse(&data).unwrap_err().contains(name));
    }
    let mut data = data(&ca);
    data.remove("requestheader-client-ca-file");
    assert!(FrontProxy::parse(&data).unwrap().is_none());
}

#[test]
fn who_is_known_is_in_the_group_of_all_who_are() {
    let groups = |said: &[&str], name: &str| {
        let said = said.iter().map(|group| (*group).to_owned()).collect();
        with_everybody(said, name)
    };
    const KNOWN: &str = "system:authenticated";
    assert_eq!(groups(&[], "system:kube-aggregator"), [KNOWN]);
    assert_eq!(groups(&["dev"], "jane"), ["dev", KNOWN]);
    assert_eq!(groups(&["dev", KNOWN], "jane"), ["dev", KNOWN]);
    let nobody = ["system:unauthenticated"];
    assert_eq!(groups(&nobody, "system:anonymous"), nobody);
    assert_eq!(groups(&[], "system:anonymous"), [""; 0]);
}
