//! Keys for Wireshark: a line of its file `ikev2_decryption_table` for each IKE SA.
use super::hexadecimal;
use crypto::Zeroizing;
use crypto::cipher::{Encryption, Integrity, Suite};
use ike::keys::IkeKeys;
use ike::wire::Header;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A line of the table: both SPIs, SK_ei, SK_er, the cipher, SK_ai, SK_ar, the integrity.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyLine(Zeroizing<String>);

impl std::fmt::Debug for KeyLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyLine(..)")
    }
}

impl KeyLine {
    /// `None`: Wireshark has no name for this protection.
    pub(super) fn new(header: &Header, keys: &IkeKeys) -> Option<Self> {
        let (encryption, integrity) = names(keys.suite.protection)?;
        let [ei, er, ai, ar] = [&keys.ei, &keys.er, &keys.ai, &keys.ar].map(|key| Zeroizing::new(hexadecimal(key)));
        let (spi_i, spi_r) = (header.initiator_spi, header.responder_spi);
        let line = format!("{spi_i},{spi_r},{},{},\"{encryption}\",{},{},\"{integrity}\"", *ei, *er, *ai, *ar);
        Some(Self(Zeroizing::new(line)))
    }

    /// As the file has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl schemars::JsonSchema for KeyLine {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TraceKeys".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

impl Serialize for KeyLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|line| Self(Zeroizing::new(line)))
    }
}

/// As Wireshark spells them in its table.
fn names(suite: Suite) -> Option<(&'static str, &'static str)> {
    let encryption = match suite.encryption() {
        Encryption::AesCbc128 => "AES-CBC-128 [RFC3602]",
        Encryption::AesCbc256 => "AES-CBC-256 [RFC3602]",
        Encryption::AesGcm128 => "AES-GCM-128 with 16 octet ICV [RFC5282]",
        Encryption::AesGcm256 => "AES-GCM-256 with 16 octet ICV [RFC5282]",
        Encryption::ChaCha20Poly1305 => return None,
    };
    let integrity = match suite.integrity() {
        None => "NONE [RFC4306]",
        Some(Integrity::HmacSha1_96) => "HMAC_SHA1_96 [RFC2404]",
        Some(Integrity::HmacSha256_128) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(Integrity::HmacSha384_192) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(Integrity::HmacSha512_256) => "HMAC_SHA2_512_256 [RFC4868]",
    };
    Some((encryption, integrity))
}
