//! Quick Crash Detection (RFC 6290): after a crash the gateway proves to a peer that it has lost their IKE SA, and the peer need not wait for silence.
use crate::wire::{Notify, Payload, Payloads, Spi, notify};
use crypto::prf::Prf;

/// Bytes of our tokens: the least that RFC 6290 section 4.1 allows, so that an answer is hardly longer than the shortest protected request.
pub const TOKEN_LEN: usize = 16;

/// Bytes that a peer's token may have.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// The token of an IKE SA. A pure function of the secret and the SPIs (section 5.1), so that it is known without any state.
pub fn token(secret: &[u8], spi_i: Spi, spi_r: Spi) -> [u8; TOKEN_LEN] {
    let mac = Prf::HmacSha256.compute(secret, &[b"QCD", &spi_i.0.to_be_bytes(), &spi_r.0.to_be_bytes()]);
    let mut token = [0; TOKEN_LEN];
    token.copy_from_slice(&mac[..TOKEN_LEN]);
    token
}

/// N(QCD_TOKEN) with the token of an IKE SA.
pub(crate) fn token_notify(secret: &[u8], spi_i: Spi, spi_r: Spi) -> Notify {
    Notify::new(notify::QUICK_CRASH_DETECTION, token(secret, spi_i, spi_r))
}

/// The token that the peer gives us for later, in a protected message.
pub(crate) fn received(payloads: &Payloads) -> Option<Vec<u8>> {
    let token = payloads.notify(notify::QUICK_CRASH_DETECTION)?;
    LENGTHS.contains(&token.data.len()).then(|| token.data.clone())
}

/// Whether an unprotected answer holds the token that the peer gave us. It may hold several, of several generations of the peer's secret (section 4.5).
pub(crate) fn proves(payloads: &Payloads, expected: &[u8]) -> bool {
    payloads.notifies().any(|it| it.kind == notify::QUICK_CRASH_DETECTION && crypto::constant_time_eq(&it.data, expected))
}

/// The notify as a payload of a protected message.
pub(crate) fn payload(secret: &[u8], spi_i: Spi, spi_r: Spi) -> Payload {
    Payload::Notify(token_notify(secret, spi_i, spi_r))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_one_secret_and_one_pair_of_spis() {
        let (secret, i, r) = (&[1; 32], Spi(0x0102_0304_0506_0708), Spi(0x1112_1314_1516_1718));
        let own = token(secret, i, r);
        assert_eq!(own, token(secret, i, r));
        for other in [token(&[2; 32], i, r), token(secret, r, i), token(secret, i, Spi(1)), token(secret, Spi(1), r)] {
            assert_ne!(own, other);
        }
    }

    #[test]
    fn one_of_several_tokens_is_enough_and_none_of_them_a_prefix() {
        let expected = token(&[1; 32], Spi(1), Spi(2));
        let answer = |tokens: &[&[u8]]| {
            let notifies = tokens.iter().map(|data| Payload::Notify(Notify::new(notify::QUICK_CRASH_DETECTION, *data)));
            let header = crate::wire::Header::new(Spi(1), Spi(2), crate::wire::Exchange::Informational, crate::wire::Flags::default(), 0);
            crate::wire::Message::parse(&crate::wire::encode(&header, &notifies.collect::<Vec<_>>())).unwrap().payloads
        };
        assert!(proves(&answer(&[&[0; 16], &[1; 128], &[2; 16], &expected]), &expected));
        assert!(!proves(&answer(&[&expected[..15], &[0; 16], &[]]), &expected));
        assert!(!proves(&answer(&[]), &expected));
        assert_eq!(received(&answer(&[&expected])), Some(expected.to_vec()));
        assert_eq!(received(&answer(&[&expected[..15]])), None, "too short to be safe");
        assert_eq!(received(&answer(&[&[0; 129]])), None);
    }
}
