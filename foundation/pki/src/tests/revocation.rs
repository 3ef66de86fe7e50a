use super::fixture::*;
use crate::{Certificate, Crl, CrlError, Purpose, Refused, Revocation, TrustAnchors, UnixTime, UnverifiedCrl};
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, KeyIdMethod, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::sync::Arc;

/// 2026-06-15 and 2026-07-15 00:00:00 UTC: the validity of the lists, around [`NOW`].
const ISSUED: UnixTime = 1_781_481_600;
const DUE: UnixTime = 1_784_073_600;

fn list(revoked: &[(&[u8], RevocationReason)]) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 6, 15),
        next_update: date_time_ymd(2026, 7, 15),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|(serial, reason)| RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: date_time_ymd(2026, 6, 10),
                reason_code: Some(*reason),
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn sign(params: CertificateRevocationListParams, issuer: &Authority) -> Vec<u8> {
    params.signed_by(issuer).unwrap().der().to_vec()
}

struct World {
    root: Authority,
    issuing: Authority,
    leaf: Certificate,
    authorities: Vec<Certificate>,
}

/// Root, issuing authority with the serial number 0x0102, client with 0x00f1.
fn world() -> World {
    let root = root("Root");
    let mut params = authority_params("Issuing");
    params.serial_number = Some(SerialNumber::from_slice(&[1, 2]));
    let issuing = subordinate(params, &root);
    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from_slice(&[0xf1]));
    let leaf = issue(&params, &issuing);
    let authorities = vec![read(root.der()), read(issuing.der())];
    World { root, issuing, leaf, authorities }
}

impl World {
    fn crl(&self, params: CertificateRevocationListParams, issuer: &Authority) -> Arc<Crl> {
        Arc::new(UnverifiedCrl::from_der(&sign(params, issuer)).unwrap().verify(&self.authorities).unwrap())
    }
    /// Lists that revoke nobody.
    fn clean(&self) -> [Arc<Crl>; 2] {
        [self.crl(list(&[]), &self.root), self.crl(list(&[]), &self.issuing)]
    }
    fn verify(&self, revocation: Revocation, crls: &[Arc<Crl>], now: UnixTime) -> Result<Vec<String>, Refused> {
        let anchors = TrustAnchors::new(self.authorities.clone()).with_revocation(revocation, crls);
        anchors.verify_with_notes(&self.leaf, &[], Purpose::Client, None, now)
    }
    fn revoked_leaf(&self) -> Arc<Crl> {
        self.crl(list(&[(&[0xf1], RevocationReason::KeyCompromise), (&[7], RevocationReason::Superseded)]), &self.issuing)
    }
}

fn unknown(result: Result<Vec<String>, Refused>, subject: &str) -> String {
    match result {
        Err(Refused::RevocationUnknown { subject: of, reason }) if of == subject => reason,
        other => panic!("{other:?} instead of doubts about {subject}"),
    }
}

const LEAF: &str = "CN=pc1.example.test, O=Example";
const ISSUING: &str = "CN=Issuing, O=Example";

#[test]
fn a_list_is_read() {
    let world = world();
    let params = list(&[(&[0xf1], RevocationReason::KeyCompromise), (&[7], RevocationReason::Superseded)]);
    let signed = params.signed_by(&world.issuing).unwrap();
    for bytes in [signed.der().to_vec(), signed.pem().unwrap().into_bytes(), format!("text\n{}", signed.pem().unwrap()).into_bytes()] {
        let unverified = UnverifiedCrl::from_bytes(&bytes).unwrap();
        assert_eq!(unverified.issuer(), ISSUING);
        let crl = unverified.verify(&world.authorities).unwrap();
        assert_eq!((crl.issuer(), crl.this_update(), crl.next_update(), crl.entries()), (ISSUING, ISSUED, DUE, 2));
    }
}

#[test]
fn what_is_not_revoked_passes() {
    let world = world();
    for revocation in [Revocation::Off, Revocation::Soft, Revocation::Hard] {
        assert_eq!(world.verify(revocation, &world.clean(), NOW), Ok(vec![]));
    }
}

#[test]
fn a_revoked_leaf_is_refused() {
    let world = world();
    let crls = [world.revoked_leaf(), world.crl(list(&[]), &world.root)];
    for revocation in [Revocation::Soft, Revocation::Hard] {
        let refused = world.verify(revocation, &crls, NOW).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "certificate CN=pc1.example.test, O=Example with the serial number 00f1 was revoked at 2026-06-10 00:00:00 UTC (key compromise)"
        );
        assert!(matches!(refused, Refused::Revoked { at, .. } if at == 1_781_049_600), "{refused:?}");
        // Even by a list that should have been replaced.
        assert_eq!(world.verify(revocation, &crls, DUE + DAY), Err(refused));
    }
    assert_eq!(world.verify(Revocation::Off, &crls, NOW), Ok(vec![]));
}

#[test]
fn a_revoked_intermediate_is_refused() {
    let mut world = world();
    let crls = [world.crl(list(&[(&[1, 2], RevocationReason::CaCompromise)]), &world.root), world.crl(list(&[]), &world.issuing)];
    for revocation in [Revocation::Soft, Revocation::Hard] {
        let refused = world.verify(revocation, &crls, NOW);
        assert!(matches!(&refused, Err(Refused::Revoked { subject, .. }) if subject == ISSUING), "{refused:?}");
    }
    // The same when the client brings it along.
    let issuing = world.authorities.pop().unwrap();
    let anchors = TrustAnchors::new(world.authorities).with_revocation(Revocation::Soft, &crls);
    let refused = anchors.verify(&world.leaf, &[issuing], Purpose::Client, None, NOW);
    assert!(matches!(&refused, Err(Refused::Revoked { subject, .. }) if subject == ISSUING), "{refused:?}");
}

#[test]
fn without_a_list() {
    let world = world();
    let [of_root, of_issuing] = world.clean();
    let notes = world.verify(Revocation::Soft, &[], NOW).unwrap();
    assert_eq!(notes.len(), 2);
    assert_eq!(
        notes[0],
        "certificate CN=pc1.example.test, O=Example was not checked for revocation: there is no revocation list of CN=Issuing, O=Example \
         that covers it"
    );
    let reason = unknown(world.verify(Revocation::Hard, &[of_root], NOW), LEAF);
    assert_eq!(reason, "there is no revocation list of CN=Issuing, O=Example that covers it");
    unknown(world.verify(Revocation::Hard, &[of_issuing], NOW), ISSUING);
}

#[test]
fn a_list_that_has_run_out() {
    let world = world();
    let crls = world.clean();
    assert_eq!(world.verify(Revocation::Hard, &crls, DUE - 1), Ok(vec![]));
    let reason = unknown(world.verify(Revocation::Hard, &crls, DUE), LEAF);
    assert_eq!(reason, "the revocation list of CN=Issuing, O=Example was due to be replaced at 2026-07-15 00:00:00 UTC");
    let notes = world.verify(Revocation::Soft, &crls, DUE).unwrap();
    assert!(notes.len() == 2 && notes[0].contains("was due to be replaced at 2026-07-15"), "{notes:?}");
    // The clocks of the authority and of this host need not agree to the second.
    assert_eq!(world.verify(Revocation::Hard, &crls, ISSUED - 300), Ok(vec![]));
    let reason = unknown(world.verify(Revocation::Hard, &crls, ISSUED - 301), LEAF);
    assert!(reason.contains("from the future (2026-06-15 00:00:00 UTC)"), "{reason}");
}

/// A certificate that was on hold and is released: the newer list clears it, in whatever order they come.
#[test]
fn the_newest_list_counts() {
    let world = world();
    let held = world.crl(list(&[(&[0xf1], RevocationReason::CertificateHold)]), &world.issuing);
    let mut newer = list(&[]);
    newer.this_update = date_time_ymd(2026, 6, 20);
    let newer = world.crl(newer, &world.issuing);
    let [of_root, _] = world.clean();
    for crls in [[&held, &newer, &of_root], [&of_root, &newer, &held]] {
        let crls = crls.map(Arc::clone);
        assert_eq!(world.verify(Revocation::Hard, &crls, NOW), Ok(vec![]));
        assert_eq!(TrustAnchors::new(world.authorities.clone()).with_revocation(Revocation::Hard, &crls).crls().len(), 2);
    }
    assert!(matches!(world.verify(Revocation::Hard, &[of_root, held.clone(), held], NOW), Err(Refused::Revoked { .. })));
}

#[test]
fn only_the_authority_itself_signs() {
    let world = world();
    let verify = |der: &[u8]| UnverifiedCrl::from_der(der).unwrap().verify(&world.authorities).map(|_| ());
    let issuer = || "CN=Root, O=Example".to_owned();
    let impostor = root("Root");
    assert_eq!(verify(&sign(list(&[]), &impostor)), Err(CrlError::BadSignature { issuer: issuer() }));
    let stranger = root("Stranger");
    let error = verify(&sign(list(&[]), &stranger));
    assert_eq!(error, Err(CrlError::UnknownIssuer { issuer: "CN=Stranger, O=Example".into() }));
    let mut forged = sign(list(&[(&[9], RevocationReason::KeyCompromise)]), &world.root);
    let at = forged.windows(3).position(|bytes| bytes == [2, 1, 9]).unwrap();
    forged[at + 2] = 8;
    assert_eq!(verify(&forged), Err(CrlError::BadSignature { issuer: issuer() }));

    let mut params = authority_params("Root");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // The library of these tests refuses to sign in the name of such an authority: one of the same name and key signs.
    let key = rcgen::KeyPair::generate().unwrap();
    let silent = read(params.self_signed(&key).unwrap().der());
    let signer = Authority::self_signed(authority_params("Root"), key).unwrap();
    let error = UnverifiedCrl::from_der(&sign(list(&[]), &signer)).unwrap().verify(&[silent]).map(|_| ());
    assert_eq!(error, Err(CrlError::NotASigner { issuer: issuer() }));
}

/// An authority with a new key keeps its name: its lists under the old key say nothing about certificates under the new one.
#[test]
fn lists_belong_to_keys() {
    let mut world = world();
    let renewed = subordinate(authority_params("Issuing"), &world.root);
    world.authorities.push(read(renewed.der()));
    let of_old = world.crl(list(&[]), &world.issuing);
    let of_new = world.crl(list(&[(&[0xf1], RevocationReason::Superseded)]), &renewed);
    let of_root = world.crl(list(&[]), &world.root);
    assert_eq!(world.verify(Revocation::Hard, &[of_new.clone(), of_old, of_root.clone()], NOW), Ok(vec![]));
    unknown(world.verify(Revocation::Hard, &[of_new, of_root], NOW), LEAF);
}

#[test]
fn scopes() {
    let mut world = world();
    let scoped = |uri: &str, scope, revoked: &[(&[u8], RevocationReason)]| {
        let mut params = list(revoked);
        let distribution_point = CrlDistributionPoint { uris: vec![uri.to_owned()] };
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
        params
    };
    let here = "http://pki.example.test/here.crl";
    let of_root = world.crl(list(&[]), &world.root);
    let users = world.crl(scoped(here, Some(CrlScope::UserCertsOnly), &[]), &world.issuing);
    let authorities = world.crl(scoped(here, Some(CrlScope::CaCertsOnly), &[]), &world.issuing);
    assert_eq!(world.verify(Revocation::Hard, &[users.clone(), of_root.clone()], NOW), Ok(vec![]));
    unknown(world.verify(Revocation::Hard, &[authorities, of_root.clone()], NOW), LEAF);

    let mut params = client_params();
    params.serial_number = Some(SerialNumber::from_slice(&[0xf1]));
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![here.to_owned()] }];
    world.leaf = issue(&params, &world.issuing);
    assert_eq!(world.leaf.crl_urls, [here]);
    let there = world.crl(scoped("http://pki.example.test/there.crl", None, &[(&[0xf1], RevocationReason::KeyCompromise)]), &world.issuing);
    assert_eq!(world.verify(Revocation::Hard, &[there.clone(), users, of_root.clone()], NOW), Ok(vec![]));
    let reason = unknown(world.verify(Revocation::Hard, &[there, of_root], NOW), LEAF);
    assert!(reason.ends_with("that covers it; it names http://pki.example.test/here.crl"), "{reason}");
}

/// Another way to a root, over an authority that is not revoked, is taken.
#[test]
fn a_path_that_is_not_revoked_is_found() {
    let mut world = world();
    let second = root("Second Root");
    let mut params = authority_params("Issuing");
    params.serial_number = Some(SerialNumber::from_slice(&[3, 4]));
    world.authorities.extend([read(second.der()), read(params.signed_by(world.issuing.key(), &second).unwrap().der())]);
    let crls = [
        world.crl(list(&[(&[1, 2], RevocationReason::CaCompromise)]), &world.root),
        world.crl(list(&[]), &second),
        world.crl(list(&[]), &world.issuing),
    ];
    assert_eq!(world.verify(Revocation::Hard, &crls, NOW), Ok(vec![]));
}

#[test]
fn authorities_that_issued_only_each_other_are_roots() {
    let (a, b) = (root("A"), root("B"));
    let a_by_b = read(authority_params("A").signed_by(a.key(), &b).unwrap().der());
    let b_by_a = read(authority_params("B").signed_by(b.key(), &a).unwrap().der());
    let leaf = issue(&client_params(), &a);
    assert_eq!(TrustAnchors::new(vec![a_by_b, b_by_a]).verify(&leaf, &[], Purpose::Client, None, NOW), Ok(()));
}

#[test]
fn damaged_lists_say_what_is_wrong() {
    let world = world();
    let der = sign(list(&[(&[0xf1], RevocationReason::KeyCompromise)]), &world.issuing);
    let error = |bytes: &[u8]| UnverifiedCrl::from_bytes(bytes).unwrap_err();
    assert_eq!(error(b""), CrlError::NoList);
    assert_eq!(error(world.root.pem().as_bytes()), CrlError::NoList);
    assert!(error(&world.authorities[0].der).to_string().contains("no revocation list in DER"));
    let pem = list(&[]).signed_by(&world.root).unwrap().pem().unwrap();
    assert!(error(pem.repeat(2).as_bytes()).to_string().contains("several lists"));
    assert!(error(pem.replace("MI", "M!").as_bytes()).to_string().contains("PEM text cannot be read"));
    for len in 0..der.len() {
        assert!(UnverifiedCrl::from_der(&der[..len]).is_err(), "{len}");
    }
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x55;
        if let Ok(crl) = UnverifiedCrl::from_der(&damaged) {
            assert!(crl.verify(&world.authorities).is_err(), "byte {at}");
        }
    }
}
