use super::fixture::*;
use crate::{Certificate, Purpose, Refused, TrustAnchors};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints, SanType};

struct World {
    root: Authority,
    policy: Authority,
    issuing: Authority,
    anchors: TrustAnchors,
}

/// Root, policy authority, issuing authority.
fn world() -> World {
    let root = root("Root");
    let policy = subordinate(authority_params("Policy"), &root);
    let issuing = subordinate(authority_params("Issuing"), &policy);
    let anchors = TrustAnchors::new(vec![read(root.der())]);
    World { root, policy, issuing, anchors }
}

impl World {
    fn intermediates(&self) -> Vec<Certificate> {
        vec![read(self.policy.der()), read(self.issuing.der())]
    }
    fn client(&self, leaf: &Certificate) -> Result<(), Refused> {
        self.anchors.verify(leaf, &self.intermediates(), Purpose::Client, None, NOW)
    }
    fn server(&self, leaf: &Certificate, name: &str) -> Result<(), Refused> {
        self.anchors.verify(leaf, &self.intermediates(), Purpose::Server, Some(name), NOW)
    }
}

fn other_reason(result: Result<(), Refused>, subject: &str) -> String {
    match result {
        Err(Refused::Other { subject: of, reason }) if of == subject => reason,
        other => panic!("{other:?} instead of a reason about {subject}"),
    }
}

#[test]
fn a_chain_in_any_order() {
    let world = world();
    let leaf = issue(&client_params(), &world.issuing);
    let (root, stranger) = (read(world.root.der()), read(root("Stranger").der()));
    let [policy, issuing] = world.intermediates().try_into().unwrap();
    let orders: [&[&Certificate]; 4] =
        [&[&policy, &issuing], &[&issuing, &policy], &[&stranger, &issuing, &root, &policy], &[&issuing, &issuing, &policy, &leaf]];
    for order in orders {
        let intermediates: Vec<_> = order.iter().map(|certificate| (*certificate).clone()).collect();
        assert_eq!(world.anchors.verify(&leaf, &intermediates, Purpose::Client, None, NOW), Ok(()));
    }
    let direct = issue(&client_params(), &world.root);
    assert_eq!(world.anchors.verify(&direct, &[], Purpose::Client, None, NOW), Ok(()));
}

#[test]
fn unknown_issuer_names_the_top_of_what_came() {
    let world = world();
    let leaf = issue(&client_params(), &world.issuing);
    let unknown = |subject: &str, issuer: &str| {
        Err(Refused::UnknownIssuer { subject: format!("CN={subject}, O=Example"), issuer: format!("CN={issuer}, O=Example") })
    };
    let [policy, issuing] = world.intermediates().try_into().unwrap();
    let verify = |intermediates: &[Certificate]| world.anchors.verify(&leaf, intermediates, Purpose::Client, None, NOW);
    assert_eq!(verify(&[]), unknown("pc1.example.test", "Issuing"));
    assert_eq!(verify(std::slice::from_ref(&issuing)), unknown("Issuing", "Policy"));
    assert_eq!(verify(std::slice::from_ref(&policy)), unknown("pc1.example.test", "Issuing"));
    let none = TrustAnchors::default();
    assert!(none.is_empty());
    assert_eq!(none.verify(&leaf, &[policy, issuing], Purpose::Client, None, NOW), unknown("Policy", "Root"));
    let self_signed = client_params().self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(world.client(&read(self_signed.der())), unknown("pc1.example.test", "pc1.example.test"));
}

/// Two authorities that call each other issuer must not trap the search.
#[test]
fn a_circle_ends() {
    let (a, b) = (root("A"), root("B"));
    let a_by_b = read(authority_params("A").signed_by(a.key(), &b).unwrap().der());
    let b_by_a = read(authority_params("B").signed_by(b.key(), &a).unwrap().der());
    let leaf = issue(&client_params(), &a);
    let result = world().anchors.verify(&leaf, &[a_by_b, b_by_a], Purpose::Client, None, NOW);
    assert!(matches!(result, Err(Refused::UnknownIssuer { .. })), "{result:?}");
}

#[test]
fn the_same_name_with_another_key_is_no_authority() {
    let world = world();
    let impostor = root("Root");
    let leaf = issue(&client_params(), &impostor);
    let reason = other_reason(world.anchors.verify(&leaf, &[], Purpose::Client, None, NOW), "CN=pc1.example.test, O=Example");
    assert!(reason.contains("does not come from the key of its issuer (CN=Root, O=Example)"), "{reason}");
    // An anchor of the same name that does fit is found nevertheless.
    let both = TrustAnchors::new(vec![read(world.root.der()), read(impostor.der())]);
    assert_eq!(both.verify(&leaf, &[], Purpose::Client, None, NOW), Ok(()));
    assert_eq!(both.roots().len(), 2);
}

#[test]
fn time_of_the_leaf() {
    let world = world();
    let leaf = issue(&client_params(), &world.issuing);
    let at = |now| world.anchors.verify(&leaf, &world.intermediates(), Purpose::Client, None, now);
    let subject = "CN=pc1.example.test, O=Example".to_owned();
    let expired = Refused::Expired { subject: subject.clone(), not_after: leaf.not_after };
    assert_eq!(at(leaf.not_after), Ok(()));
    assert_eq!(at(leaf.not_after + 1), Err(expired.clone()));
    assert_eq!(expired.to_string(), "certificate CN=pc1.example.test, O=Example expired at 2027-01-01 00:00:00 UTC");
    let early = Refused::NotYetValid { subject, not_before: leaf.not_before };
    assert_eq!(at(leaf.not_before), Ok(()));
    assert_eq!(at(leaf.not_before - 1), Err(early.clone()));
    assert_eq!(at(-1), Err(early.clone()));
    assert_eq!(early.to_string(), "certificate CN=pc1.example.test, O=Example is not valid before 2026-01-01 00:00:00 UTC");
}

#[test]
fn time_of_intermediate_and_root() {
    let root = root("Root");
    let mut params = authority_params("Issuing");
    params.not_after = rcgen::date_time_ymd(2026, 6, 1);
    let issuing = subordinate(params, &root);
    let leaf = issue(&client_params(), &issuing);
    let anchors = TrustAnchors::new(vec![read(root.der())]);
    let expired = |subject: &str, not_after| Err(Refused::Expired { subject: format!("CN={subject}, O=Example"), not_after });
    let issuing = read(issuing.der());
    let result = anchors.verify(&leaf, std::slice::from_ref(&issuing), Purpose::Client, None, NOW);
    assert_eq!(result, expired("Issuing", issuing.not_after));

    let mut params = authority_params("Old Root");
    params.not_after = rcgen::date_time_ymd(2026, 6, 1);
    let old = Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let leaf = issue(&client_params(), &old);
    let old = read(old.der());
    let anchors = TrustAnchors::new(vec![read(root.der()), old.clone()]);
    assert_eq!(anchors.verify(&leaf, &[], Purpose::Client, None, NOW), expired("Old Root", old.not_after));
    assert_eq!(anchors.verify(&leaf, &[], Purpose::Client, None, old.not_after), Ok(()));
}

#[test]
fn purposes() {
    let world = world();
    let with = |purposes: &[ExtendedKeyUsagePurpose]| {
        let mut params = client_params();
        params.extended_key_usages = purposes.to_vec();
        issue(&params, &world.issuing)
    };
    let name = "pc1.example.test";
    for good in [
        with(&[]),
        with(&[ExtendedKeyUsagePurpose::Any]),
        with(&[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]),
    ] {
        assert_eq!((world.client(&good), world.server(&good, name)), (Ok(()), Ok(())));
    }
    let wrong =
        |wanted: &'static str| Err(Refused::WrongPurpose { subject: "CN=pc1.example.test, O=Example".into(), wanted: wanted.into() });
    let client_only = with(&[ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(world.server(&client_only, name), wrong("serverAuth (1.3.6.1.5.5.7.3.1)"));
    let server_only = with(&[ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(world.client(&server_only), wrong("clientAuth (1.3.6.1.5.5.7.3.2)"));
    assert_eq!(world.client(&with(&[ExtendedKeyUsagePurpose::CodeSigning])), wrong("clientAuth (1.3.6.1.5.5.7.3.2)"));
}

#[test]
fn purposes_of_the_intermediate_bind() {
    let root = root("Root");
    let mut params = authority_params("Mail");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let issuing = subordinate(params, &root);
    let leaf = issue(&client_params(), &issuing);
    let result = TrustAnchors::new(vec![read(root.der())]).verify(&leaf, &[read(issuing.der())], Purpose::Client, None, NOW);
    assert_eq!(
        result,
        Err(Refused::WrongPurpose { subject: "CN=Mail, O=Example".into(), wanted: "clientAuth (1.3.6.1.5.5.7.3.2)".into() })
    );
}

#[test]
fn names() {
    let world = world();
    let mut params = server_params(&["vpn.example.test", "*.branch.example.test", "198.51.100.9"]);
    params.subject_alt_names.push(SanType::DnsName("192.0.2.7".try_into().unwrap()));
    let leaf = issue(&params, &world.issuing);
    for good in ["vpn.example.test", "VPN.Example.Test", "a.branch.example.test", "198.51.100.9", "192.0.2.7"] {
        assert_eq!(world.server(&leaf, good), Ok(()), "{good}");
    }
    for bad in ["example.test", "a.b.branch.example.test", "192.0.2.8", "pn.example.test", "", "*"] {
        let wrong = Refused::WrongName { subject: "CN=vpn.example.test, O=Example".into(), name: bad.into() };
        assert_eq!(world.server(&leaf, bad), Err(wrong), "{bad}");
    }
    // The common name alone does not do.
    let bare = issue(&server_params(&[]), &world.issuing);
    assert!(matches!(world.server(&bare, "vpn.example.test"), Err(Refused::WrongName { .. })));
}

#[test]
fn a_client_needs_no_alternative_name() {
    let world = world();
    let mut params = client_params();
    params.subject_alt_names.clear();
    assert_eq!(world.client(&issue(&params, &world.issuing)), Ok(()));
}

#[test]
fn authorities_and_leaves_do_not_swap() {
    let world = world();
    let reason = other_reason(world.client(&read(world.issuing.der())), "CN=Issuing, O=Example");
    assert!(reason.contains("authority"), "{reason}");

    let not_an_authority = subordinate(params("PC", &[]), &world.root);
    let leaf = issue(&client_params(), &not_an_authority);
    let result = world.anchors.verify(&leaf, &[read(not_an_authority.der())], Purpose::Client, None, NOW);
    let reason = other_reason(result, "CN=PC, O=Example");
    assert!(reason.contains("no authority"), "{reason}");
}

#[test]
fn constraints_of_authorities_bind() {
    let root = root("Root");
    let anchors = TrustAnchors::new(vec![read(root.der())]);
    let mut short = authority_params("Short");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = subordinate(short, &root);
    let below = subordinate(authority_params("Below"), &short);
    let leaf = issue(&client_params(), &below);
    let result = anchors.verify(&leaf, &[read(short.der()), read(below.der())], Purpose::Client, None, NOW);
    let reason = other_reason(result, "CN=pc1.example.test, O=Example");
    assert!(reason.contains("fewer intermediates"), "{reason}");

    let mut narrow = authority_params("Narrow");
    narrow.name_constraints =
        Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName("other.test".into())], excluded_subtrees: vec![] });
    let narrow = subordinate(narrow, &root);
    let leaf = issue(&client_params(), &narrow);
    let reason = other_reason(anchors.verify(&leaf, &[read(narrow.der())], Purpose::Client, None, NOW), "CN=pc1.example.test, O=Example");
    assert!(reason.contains("may not issue certificates for its names"), "{reason}");
}

/// Leaf and root made by OpenSSL, in one file: what the library of these tests cannot make.
fn old(pem: &str) -> Result<(), Refused> {
    let [leaf, root] = Certificate::from_pem(pem.as_bytes()).unwrap().try_into().unwrap();
    let now = leaf.not_before + DAY;
    TrustAnchors::new(vec![root]).verify(&leaf, &[], Purpose::Client, None, now)
}

#[test]
fn old_roots_serve() {
    assert_eq!(old(include_str!("testdata/sha1-root.pem")), Ok(()));
    assert_eq!(old(include_str!("testdata/v1-root.pem")), Ok(()));
}

#[test]
fn weak_signatures_and_keys_are_named() {
    let reason = other_reason(old(include_str!("testdata/sha1-leaf.pem")), "CN=pc1, O=Example");
    assert!(reason.contains("signed with RSA and SHA-1"), "{reason}");
    let reason = other_reason(old(include_str!("testdata/rsa1024-root.pem")), "CN=rsa1024-root, O=Example");
    assert!(reason.contains("RSA key of 1024 bits"), "{reason}");
}

#[test]
fn a_flood_of_intermediates_is_refused() {
    let world = world();
    let leaf = issue(&client_params(), &world.issuing);
    let flood = vec![read(world.issuing.der()); 9];
    let reason = other_reason(world.anchors.verify(&leaf, &flood, Purpose::Client, None, NOW), "CN=pc1.example.test, O=Example");
    assert!(reason.contains("9 intermediates"), "{reason}");
}

#[test]
fn a_forged_byte_anywhere_is_refused() {
    let world = world();
    let leaf = issue(&client_params(), &world.root);
    assert_eq!(world.anchors.verify(&leaf, &[], Purpose::Client, None, NOW), Ok(()));
    for at in (0..leaf.der.len()).step_by(3) {
        let mut der = leaf.der.clone();
        der[at] ^= 1;
        if let Ok(forged) = Certificate::from_der(&der) {
            assert!(world.anchors.verify(&forged, &[], Purpose::Client, None, NOW).is_err(), "byte {at}");
        }
    }
}

#[test]
fn client_purposes_can_be_chosen() {
    let world = world();
    let custom = "1.3.6.1.4.1.32473.1";
    let verify = |accepted: &[&str], purposes: &[ExtendedKeyUsagePurpose]| {
        let mut params = client_params();
        params.extended_key_usages = purposes.to_vec();
        let leaf = issue(&params, &world.issuing);
        let anchors = world.anchors.clone().with_client_purposes(accepted.iter().map(|oid| (*oid).to_owned()).collect());
        anchors.verify(&leaf, &world.intermediates(), Purpose::Client, None, NOW)
    };
    let ours = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 32473, 1]);
    let wrong =
        |wanted: &'static str| Err(Refused::WrongPurpose { subject: "CN=pc1.example.test, O=Example".into(), wanted: wanted.into() });
    assert_eq!(verify(&[custom], &[ExtendedKeyUsagePurpose::ClientAuth, ours.clone()]), Ok(()));
    assert_eq!(verify(&[custom, "1.3.6.1.5.5.7.3.2"], &[ExtendedKeyUsagePurpose::ClientAuth]), Ok(()));
    // One that says nothing in particular is no certificate for the purpose that somebody has chosen.
    for purposes in [&[][..], &[ExtendedKeyUsagePurpose::Any], &[ExtendedKeyUsagePurpose::ClientAuth]] {
        assert_eq!(verify(&[custom], purposes), wrong(custom), "{purposes:?}");
    }
    let both = wrong("1.3.6.1.4.1.32473.1 or smartcardLogon (1.3.6.1.4.1.311.20.2.2)");
    assert_eq!(verify(&[custom, "1.3.6.1.4.1.311.20.2.2"], &[ExtendedKeyUsagePurpose::ServerAuth]), both);
    assert_eq!(verify(&["1.3.6.1.5.5.7.3.2"], &[ours]), wrong("clientAuth (1.3.6.1.5.5.7.3.2)"));
}

#[test]
fn key_usage_must_allow_signatures() {
    let world = world();
    let with = |usages: &[KeyUsagePurpose]| {
        let mut params = client_params();
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.key_usages = usages.to_vec();
        issue(&params, &world.issuing)
    };
    assert_eq!(world.client(&with(&[])), Ok(()));
    assert_eq!(world.client(&with(&[KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature])), Ok(()));
    let encipherment = with(&[KeyUsagePurpose::KeyEncipherment]);
    let refused = world.client(&encipherment).unwrap_err();
    assert_eq!(refused, Refused::WrongKeyUsage { subject: "CN=pc1.example.test, O=Example".into() });
    assert_eq!(
        refused.to_string(),
        "certificate CN=pc1.example.test, O=Example may not be used for signatures (key usage lacks digitalSignature)"
    );
    assert_eq!(world.server(&encipherment, "pc1.example.test"), Ok(()));
}
