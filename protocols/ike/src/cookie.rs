//! Stateless cookies (RFC 7296 section 2.6).
use crate::wire::Spi;
use crypto::prf::Prf;
use crypto::{Random, Zeroizing};
use std::net::IpAddr;

/// Two secrets that make and check cookies: `version | HMAC-SHA-256(secret, Ni | IPi | SPIi)`.
pub struct CookieSecrets {
    version: u8,
    current: Zeroizing<[u8; 32]>,
    previous: Option<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for CookieSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieSecrets").field("version", &self.version).finish_non_exhaustive()
    }
}

impl CookieSecrets {
    pub fn new(random: &mut dyn Random) -> Self {
        Self { version: 0, current: secret(random), previous: None }
    }

    /// A new secret takes over; cookies of the last one stay good until the next call. Call it every minute or so while cookies are asked.
    pub fn rotate(&mut self, random: &mut dyn Random) {
        self.version = self.version.wrapping_add(1);
        self.previous = Some(std::mem::replace(&mut self.current, secret(random)));
    }

    /// The data of N(COOKIE): 33 bytes.
    pub fn make(&self, nonce_i: &[u8], source: IpAddr, spi_i: Spi) -> Vec<u8> {
        cookie(self.version, &self.current, nonce_i, source, spi_i)
    }

    /// Whether we made this cookie, for this peer and nonce, with one of the last two secrets. Constant time.
    pub fn verify(&self, data: &[u8], nonce_i: &[u8], source: IpAddr, spi_i: Spi) -> bool {
        let secret = match data.first() {
            Some(version) if *version == self.version => Some(&self.current),
            Some(version) if *version == self.version.wrapping_sub(1) => self.previous.as_ref(),
            _ => None,
        };
        secret.is_some_and(|secret| crypto::constant_time_eq(data, &cookie(data[0], secret, nonce_i, source, spi_i)))
    }
}

fn secret(random: &mut dyn Random) -> Zeroizing<[u8; 32]> {
    let mut secret = Zeroizing::new([0; 32]);
    random.fill(&mut *secret);
    secret
}

fn cookie(version: u8, secret: &[u8; 32], nonce_i: &[u8], source: IpAddr, spi_i: Spi) -> Vec<u8> {
    let source = match source.to_canonical() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    // Nonce and address differ in length: with the lengths in front no two inputs look alike.
    let lengths = [(nonce_i.len() as u16).to_be_bytes(), (source.len() as u16).to_be_bytes()].concat();
    let parts: [&[u8]; 4] = [&lengths, nonce_i, &source, &spi_i.0.to_be_bytes()];
    let mac = Prf::HmacSha256.compute(secret, &parts);
    [&[version], mac.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::SeededRandom;

    const NONCE: &[u8] = &[0xaa; 48];
    const SPI: Spi = Spi(0x0102_0304_0506_0708);

    fn source() -> IpAddr {
        "198.51.100.7".parse().unwrap()
    }

    #[test]
    fn a_cookie_is_good_for_its_peer_alone() {
        let secrets = CookieSecrets::new(&mut SeededRandom::new(1));
        let cookie = secrets.make(NONCE, source(), SPI);
        assert_eq!(cookie.len(), 33);
        assert!(secrets.verify(&cookie, NONCE, source(), SPI));
        assert!(!secrets.verify(&cookie, &NONCE[1..], source(), SPI));
        assert!(!secrets.verify(&cookie, NONCE, "198.51.100.8".parse().unwrap(), SPI));
        assert!(!secrets.verify(&cookie, NONCE, source(), Spi(1)));
        for index in 0..cookie.len() {
            let mut damaged = cookie.clone();
            damaged[index] ^= 1;
            assert!(!secrets.verify(&damaged, NONCE, source(), SPI), "byte {index}");
            assert!(!secrets.verify(&cookie[..index], NONCE, source(), SPI), "cut at {index}");
        }
    }

    #[test]
    fn two_secrets_are_good_at_a_time() {
        let mut random = SeededRandom::new(2);
        let mut secrets = CookieSecrets::new(&mut random);
        // Over the wrap of the version byte as well.
        for _ in 0..300 {
            let cookie = secrets.make(NONCE, source(), SPI);
            secrets.rotate(&mut random);
            assert!(secrets.verify(&cookie, NONCE, source(), SPI));
            secrets.rotate(&mut random);
            assert!(!secrets.verify(&cookie, NONCE, source(), SPI));
        }
    }

    #[test]
    fn another_gateway_makes_other_cookies() {
        let (one, two) = (CookieSecrets::new(&mut SeededRandom::new(1)), CookieSecrets::new(&mut SeededRandom::new(2)));
        assert!(!two.verify(&one.make(NONCE, source(), SPI), NONCE, source(), SPI));
        assert!(!format!("{one:?}").contains("current"));
    }
}
