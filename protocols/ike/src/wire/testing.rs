//! Helpers of this crate's tests.

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
}

/// A message of `testdata/windows-sa-init.txt`.
pub(crate) fn windows(name: &str) -> Vec<u8> {
    let lines = include_str!("testdata/windows-sa-init.txt").lines();
    let line = lines.filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name);
    hex(line.unwrap_or_else(|| panic!("no message {name}")).1)
}

pub(crate) const WINDOWS: [&str; 8] = [
    "reg2_modp2048",
    "reg2_no_vic",
    "win10_default_frag",
    "win11_default",
    "aovpn_baseline",
    "aovpn_enhanced_gcm128",
    "custom_aes256_sha384_ecp384",
    "custom_aes256_sha256_group24",
];

/// Property tests that try the same cases in every run.
pub(crate) fn property_config() -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: 300, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}
