//! NAT detection (RFC 7296 section 2.23).
use crate::api::Path;
use crate::wire::{Notify, Payloads, Spi, notify};
use crypto::hash::{HashAlgorithm, hash};
use std::net::{IpAddr, SocketAddr};

/// SHA-1(SPIi | SPIr | address | port), SPIs as in the header of the message that carries it.
pub fn detection_hash(spi_i: Spi, spi_r: Spi, address: SocketAddr) -> [u8; 20] {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let parts: [&[u8]; 4] = [&spi_i.0.to_be_bytes(), &spi_r.0.to_be_bytes(), &ip, &address.port().to_be_bytes()];
    let mut out = [0; 20];
    out.copy_from_slice(&hash(HashAlgorithm::Sha1, &parts));
    out
}

/// Our pair of notifies for a message that leaves on `path`. With `force` the source hash is that of the port 0, which no datagram
/// comes from: the peer sees a NAT and encapsulates.
pub fn detection_notifies(spi_i: Spi, spi_r: Spi, path: Path, force: bool) -> [Notify; 2] {
    let mut source = path.local;
    if force {
        source.set_port(0);
    }
    [
        Notify::new(notify::NAT_DETECTION_SOURCE_IP, detection_hash(spi_i, spi_r, source)),
        Notify::new(notify::NAT_DETECTION_DESTINATION_IP, detection_hash(spi_i, spi_r, path.remote)),
    ]
}

/// Where NATs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detected {
    /// We are behind one: what the peer calls its destination is not our address.
    pub ours: bool,
    /// The peer is (or pretends to be).
    pub theirs: bool,
}

/// Compares the peer's notifies with the path its message came on. `None`: it sent not both of them, so it knows no NAT traversal. A
/// sender that does not know its own address may give several sources, one of which must fit (section 2.23).
pub fn detect(payloads: &Payloads, spi_i: Spi, spi_r: Spi, path: Path) -> Option<Detected> {
    let mismatch = |kind, address| {
        let want = detection_hash(spi_i, spi_r, address);
        let mut hashes = payloads.notifies().filter(|notify| notify.kind == kind).peekable();
        hashes.peek().is_some().then(|| !hashes.any(|notify| notify.data == want))
    };
    let theirs = mismatch(notify::NAT_DETECTION_SOURCE_IP, path.remote)?;
    let ours = mismatch(notify::NAT_DETECTION_DESTINATION_IP, path.local)?;
    Some(Detected { ours, theirs })
}

/// Why a client that allows no NAT (RFC 4555 section 3.9) is behind one: what NO_NATS_ALLOWED says of both ends is not where its message came
/// from and arrived. `None`: it is as the client says, or it says nothing.
pub(crate) fn unexpected(payloads: &Payloads, path: Path) -> Option<String> {
    let told = payloads.notify(notify::NO_NATS_ALLOWED)?;
    (told.data != no_nats_data(path.remote, path.local)).then(|| {
        format!(
            "the client allows no NAT on its way (NO_NATS_ALLOWED), but its addresses or ports changed: its message came from {} to {}; NAT \
             traversal on the client would let it in",
            path.remote, path.local
        )
    })
}

/// Section 4.2.6: source address, destination address, and the ports of both.
fn no_nats_data(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let address = |end: SocketAddr| match end.ip().to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    [address(source), address(destination), source.port().to_be_bytes().to_vec(), destination.port().to_be_bytes().to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::hex;
    use crate::wire::{Payload, kind};

    fn path() -> Path {
        Path::between("192.0.2.1:500".parse().unwrap(), "198.51.100.7:500".parse().unwrap())
    }

    fn payloads(notifies: Vec<Notify>) -> Payloads {
        let header = crate::wire::Header::new(Spi(1), Spi(2), crate::wire::Exchange::IkeSaInit, Default::default(), 0);
        let payloads: Vec<Payload> = notifies.into_iter().map(Payload::Notify).collect();
        assert!(payloads.iter().all(|payload| payload.kind() == kind::NOTIFY));
        crate::wire::Message::parse(&crate::wire::encode(&header, &payloads)).unwrap().payloads
    }

    /// Computed with Python's hashlib.
    #[test]
    fn hash_over_spis_address_and_port() {
        let v4 = detection_hash(Spi(0x0102_0304_0506_0708), Spi(0), path().local);
        assert_eq!(v4.to_vec(), hex(HASH_V4));
        let v6 = detection_hash(Spi(0x0102_0304_0506_0708), Spi(9), "[2001:db8::1]:4500".parse().unwrap());
        assert_eq!(v6.to_vec(), hex(HASH_V6));
        let mapped = detection_hash(Spi(0x0102_0304_0506_0708), Spi(0), "[::ffff:192.0.2.1]:500".parse().unwrap());
        assert_eq!(mapped, v4, "a dual-stack socket sees IPv4 peers as mapped addresses");
    }

    /// What the peer sends on its own view of the path, and what we see on ours.
    fn seen(peer_view: Path, force: bool) -> Option<Detected> {
        detect(&payloads(detection_notifies(Spi(1), Spi(2), peer_view, force).into()), Spi(1), Spi(2), path())
    }

    #[test]
    fn nats_on_either_side() {
        let honest = Path::between(path().remote, path().local);
        let inner = "10.0.0.5:500".parse().unwrap();
        assert_eq!(seen(honest, false), Some(Detected { ours: false, theirs: false }));
        assert_eq!(seen(honest, true), Some(Detected { ours: false, theirs: true }));
        assert_eq!(seen(Path { local: inner, ..honest }, false), Some(Detected { ours: false, theirs: true }));
        assert_eq!(seen(Path { remote: inner, ..honest }, false), Some(Detected { ours: true, theirs: false }));
    }

    #[test]
    fn no_nats_allowed() {
        let said = |data: &[u8], path| unexpected(&payloads(vec![Notify::new(notify::NO_NATS_ALLOWED, data)]), path);
        let honest = [198, 51, 100, 7, 192, 0, 2, 1, 1, 0xf4, 1, 0xf4];
        assert_eq!(said(&honest, path()), None);
        assert_eq!(unexpected(&payloads(vec![]), path()), None);
        for place in 0..honest.len() {
            let mut other = honest;
            other[place] ^= 1;
            assert!(said(&other, path()).unwrap().contains("from 198.51.100.7:500 to 192.0.2.1:500"), "byte {place}");
        }
        assert!(said(&[], path()).is_some() && said(&honest[..11], path()).is_some());
        let six = Path::between("[2001:db8::1]:4500".parse().unwrap(), "[2001:db8::7]:4501".parse().unwrap());
        let data = hex("20010db800000000000000000000000720010db800000000000000000000000111951194");
        assert_eq!(said(&data, six), None);
    }

    #[test]
    fn without_notifies_nothing_is_known() {
        assert_eq!(detect(&payloads(vec![]), Spi(1), Spi(2), path()), None);
    }

    #[test]
    fn one_fitting_source_of_several_is_enough() {
        let honest = Path::between(path().remote, path().local);
        let [source, destination] = detection_notifies(Spi(1), Spi(2), honest, false);
        let other = Notify::new(notify::NAT_DETECTION_SOURCE_IP, vec![7; 20]);
        let detected = detect(&payloads(vec![other, source, destination]), Spi(1), Spi(2), path());
        assert_eq!(detected, Some(Detected::default()));
    }

    const HASH_V4: &str = "644b4575455bd6fcc1efe2be8162a9218e448e5f";
    const HASH_V6: &str = "ff14bd45a19cb98a65ed44b807fa78c7e997c231";
}
