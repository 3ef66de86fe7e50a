//! EAP-TLS with the client of tests/sstp-client, which shares nothing with the provider but the TLS library.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use common::{Bench, identity, reason, settings};
use eap::{Code, Packet, method};
use local_provider::EapMethod;
use pki::{Certificate, Credential, TrustAnchors};
use radius_client::EapOutcome;
use rcgen::{CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use sstp_client::eap_tls::EapTls;
use std::sync::Arc;
use tempfile::TempDir;

struct Authority(CertifiedIssuer<'static, KeyPair>);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn client(&self, name: &str, email: Option<&str>) -> (String, String) {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = email.map(|email| SanType::Rfc822Name(email.try_into().unwrap())).into_iter().collect();
        self.issue(&params)
    }

    fn bench(&self, methods: &[EapMethod]) -> Bench {
        let mut server = params("vpn.example.test");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (chain, key) = self.issue(&server);
        let credential = Credential::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let roots = TrustAnchors::new(vec![Certificate::from_der(self.0.der()).unwrap()]);
        Bench::new(settings(methods, Some(Arc::new(tls::MutualSettings::new(&credential, Arc::new(roots))))))
    }
}

fn client((certificate, key): &(String, String)) -> EapTls {
    let folder = TempDir::new().unwrap();
    let (certificate_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate_file, certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    EapTls::new(&certificate_file, &key_file).unwrap()
}

/// Runs a conversation to its end; also the largest packet of the provider, and how many there were.
fn converse(bench: &mut Bench, user: &str, client: &mut EapTls) -> (EapOutcome, usize, usize) {
    let (mut answer, mut largest) = (identity(user), 0);
    for rounds in 0..200 {
        match bench.eap(1, user, &answer) {
            EapOutcome::Challenge { eap, .. } => {
                largest = largest.max(eap.len());
                let packet = Packet::parse(&eap).unwrap();
                if packet.method() != Some(method::TLS) {
                    answer = eap::build(Code::Response, packet.identifier(), method::NAK, &[method::TLS]);
                    continue;
                }
                // A client that gives up acknowledges the alert.
                let data = client.handle(packet.data()).unwrap_or_else(|_| vec![method::TLS, 0]);
                answer = eap::build(Code::Response, packet.identifier(), method::TLS, &data[1..]);
            }
            end => return (end, largest, rounds),
        }
    }
    panic!("no end");
}

#[test]
fn a_certificate_logs_in_its_user_with_keys() {
    let authority = Authority::new("Authority");
    for (name, email, user, found) in [
        ("tina", None, "tina", "tina"),
        ("Tina T.", Some("tina"), "EXAMPLE\\Tina", "tina"),
        ("alice", Some("alice@example.test"), "alice@example.test", "alice"),
    ] {
        let mut bench = authority.bench(&[EapMethod::Tls]);
        let pair = authority.client(name, email);
        let mut client = client(&pair);
        let (end, largest, _) = converse(&mut bench, user, &mut client);
        let EapOutcome::Accept { accept, .. } = end else { panic!("{end:?}") };
        assert_eq!((accept.msk.len(), &accept.msk[..32]), (64, &client.hlak().unwrap()[..]));
        assert_eq!(accept.user_name.as_deref(), Some(found));
        let shown = pki::Certificate::from_pem(pair.0.as_bytes()).unwrap().swap_remove(0);
        assert_eq!(accept.client_certificate, Some(shown.der), "the policies may look at it");
        assert!(largest <= 1344, "{largest}");
    }
}

#[test]
fn fragments_go_both_ways() {
    let authority = Authority::new("Authority");
    let mut bench = authority.bench(&[EapMethod::Tls]);
    bench.framed_mtu = 100;
    let mut large = params("tina");
    large.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    large.subject_alt_names = (0..100).map(|index| SanType::DnsName(format!("host{index}.example.test").try_into().unwrap())).collect();
    let mut client = client(&authority.issue(&large));
    let (end, largest, rounds) = converse(&mut bench, "tina", &mut client);
    assert!(matches!(end, EapOutcome::Accept { .. }), "{end:?}");
    assert!(largest <= 100 && rounds >= 10, "{largest} {rounds}");
}

#[test]
fn a_client_chooses_by_nak() {
    let authority = Authority::new("Authority");
    let mut bench = authority.bench(&[EapMethod::MsChapV2, EapMethod::Tls]);
    let (end, ..) = converse(&mut bench, "tina", &mut client(&authority.client("tina", None)));
    assert!(matches!(end, EapOutcome::Accept { .. }), "{end:?}");
}

#[test]
fn certificates_that_do_not_fit_are_refused_with_their_reason() {
    let (authority, other) = (Authority::new("Authority"), Authority::new("Other"));
    let mut late = params("tina");
    late.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    late.not_after = rcgen::date_time_ymd(2025, 1, 1);
    let mut server = params("tina");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (pair, user, why) in [
        (other.client("tina", None), "tina", "leads to none of the accepted authorities"),
        (authority.issue(&late), "tina", "expired at 2025-01-01"),
        (authority.issue(&server), "tina", "lacks the extended key usage clientAuth"),
        (authority.client("tina", None), "alice", "is made out to \"tina\", not to the identity"),
        (authority.client("nobody", None), "nobody", "the users file has no such user"),
        (authority.client("disabled", None), "disabled", "disabled in the users file"),
    ] {
        let mut bench = authority.bench(&[EapMethod::Tls]);
        let (end, ..) = converse(&mut bench, user, &mut client(&pair));
        assert!(reason(&end).contains(why), "{why}: {end:?}");
    }
}

#[test]
fn broken_packets_end_the_conversation() {
    let authority = Authority::new("Authority");
    for (data, why) in [
        (&[][..], "no flags"),
        (&[0], "fell silent"),
        (&[0, 1, 2, 3, 4, 5], "TLS"),
        (&[0x80, 0, 0], "lacks the length"),
        (&[0x80, 0, 2, 0, 0, 1], "too large a length"),
        (&[0x80, 0, 0, 0, 9, 22], "another length than announced"),
    ] {
        let mut bench = authority.bench(&[EapMethod::Tls]);
        let start = bench.challenge(1, "tina", &identity("tina"));
        let packet = eap::build(Code::Response, start[1], method::TLS, data);
        let end = match bench.eap(1, "tina", &packet) {
            // An alert for the client first.
            EapOutcome::Challenge { eap, .. } => bench.eap(1, "tina", &eap::build(Code::Response, eap[1], method::TLS, &[0])),
            end => end,
        };
        assert!(reason(&end).contains(why), "{data:?}: {end:?}");
    }
    let mut bench = authority.bench(&[EapMethod::Tls]);
    let mut request = bench.challenge(1, "tina", &identity("tina"));
    let endless = (0..200).find_map(|_| {
        let packet = eap::build(Code::Response, request[1], method::TLS, &[&[0x40][..], &[0; 1000]].concat());
        match bench.eap(1, "tina", &packet) {
            EapOutcome::Challenge { eap, .. } => {
                request = eap;
                None
            }
            end => Some(reason(&end)),
        }
    });
    assert_eq!(endless.as_deref(), Some("the client's EAP-TLS packet makes a message too long"));
}
