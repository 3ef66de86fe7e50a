//! Stateless cookies (RFC 7296 section 2.6).
use crate::wire::Spi;
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
        todo!()
    }
    /// A new secret takes over; cookies of the last one stay good until the next call. Call it every minute or so while cookies are asked.
    pub fn rotate(&mut self, random: &mut dyn Random) {
        todo!()
    }
    /// The data of N(COOKIE).
    pub fn make(&self, nonce_i: &[u8], source: IpAddr, spi_i: Spi) -> Vec<u8> {
        todo!()
    }
    /// Whether we made this cookie, for this peer and nonce, with one of the last two secrets. Constant time.
    pub fn verify(&self, cookie: &[u8], nonce_i: &[u8], source: IpAddr, spi_i: Spi) -> bool {
        todo!()
    }
}
