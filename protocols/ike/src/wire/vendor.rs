//! Vendor IDs that are worth a word in the record.

/// Windows 8 and later, all of them.
pub const MS_NT5_V9: &[u8] = &[0x1e, 0x2b, 0x51, 0x69, 0x05, 0x99, 0x1c, 0x7d, 0x7c, 0x96, 0xfc, 0xbf, 0xb5, 0x87, 0xe4, 0x61, 0, 0, 0, 9];
pub const MS_NEGOTIATION_DISCOVERY: &[u8] =
    &[0xfb, 0x1d, 0xe3, 0xcd, 0xf3, 0x41, 0xb7, 0xea, 0x16, 0xb7, 0xe5, 0xbe, 0x08, 0x55, 0xf1, 0x20];
/// The Windows host has no active SA to this peer: its form of INITIAL_CONTACT (MS-IKEE 3.5.4.1), a hint, unauthenticated.
pub const MS_INITIAL_CONTACT: &[u8] = &[0x26, 0x24, 0x4d, 0x38, 0xed, 0xdb, 0x61, 0xb3, 0x17, 0x2a, 0x36, 0xe3, 0xd0, 0xcf, 0xb8, 0x19];
pub const MS_KEY_MODS_IKEV2: &[u8] =
    &[0x01, 0x52, 0x8b, 0xbb, 0xc0, 0x06, 0x96, 0x12, 0x18, 0x49, 0xab, 0x9a, 0x1c, 0x5b, 0x2a, 0x51, 0, 0, 0, 2];

const NAMES: [(&[u8], &str); 4] = [
    (MS_NT5_V9, "MS NT5 ISAKMPOAKLEY v9"),
    (MS_NEGOTIATION_DISCOVERY, "MS-Negotiation Discovery Capable"),
    (MS_INITIAL_CONTACT, "Vid-Initial-Contact"),
    (MS_KEY_MODS_IKEV2, "MS KEY_MODS IKEv2"),
];

/// What a Vendor ID is known as.
pub fn name(id: &[u8]) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

/// The sender is Windows, of whatever version.
pub fn is_windows(id: &[u8]) -> bool {
    id.starts_with(&MS_NT5_V9[..16])
}
