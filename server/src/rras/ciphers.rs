//! A custom IPsec policy of RRAS in the words of `[ciphers]`.
use super::server::Custom;

/// The policy as lines of `[ciphers]`, or why it cannot be one.
pub(super) fn translate(custom: &Custom) -> Result<Option<Vec<String>>, String> {
    let Custom { encryption, integrity, dh, cipher_transform, authentication_transform, pfs } = custom;
    let all = [encryption, integrity, dh, cipher_transform, authentication_transform, pfs];
    if all.iter().all(|value| value.is_none()) {
        return Ok(None);
    }
    let word = |value: &Option<String>, name: &str| value.clone().ok_or(format!("{name} is not said"));
    let (encryption, integrity, dh) =
        (word(encryption, "EncryptionMethod")?, word(integrity, "IntegrityCheckMethod")?, word(dh, "DHGroup")?);
    let (cipher, authentication) =
        (word(cipher_transform, "CipherTransformConstants")?, word(authentication_transform, "AuthenticationTransformConstants")?);
    let hash = hash(&integrity).ok_or(format!("IntegrityCheckMethod {integrity}"))?;
    let group = group(&dh).ok_or(format!("DHGroup {dh}"))?;
    let ike = suite(&encryption, hash).ok_or(format!("EncryptionMethod {encryption} with IntegrityCheckMethod {integrity}"))?;
    let esp = esp(&cipher, &authentication)
        .ok_or(format!("CipherTransformConstants {cipher} with AuthenticationTransformConstants {authentication}"))?;
    let mut lines =
        vec![format!("ike = [\"{ike}\"]"), format!("prfs = [\"{hash}\"]"), format!("groups = [\"{group}\"]"), format!("esp = [\"{esp}\"]")];
    match pfs.as_deref().map(str::to_ascii_lowercase).as_deref() {
        // Rekeys without an exchange of keys are accepted always.
        None | Some("" | "none" | "pfsmm") => {}
        Some(word) => lines.push(format!("pfs = [\"{}\"]", self::pfs(word).ok_or(format!("PfsGroup {word}"))?)),
    }
    match lines.iter().find(|line| line.contains("sha1") || line.contains("modp1024")) {
        Some(weak) => Err(format!("{} is too weak to be written by itself", weak.replace('"', ""))),
        None => Ok(Some(lines)),
    }
}

fn hash(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "sha1" => "sha1",
        "sha256" => "sha256",
        "sha384" => "sha384",
        _ => return None,
    })
}

fn group(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "group2" => "modp1024",
        "group14" => "modp2048",
        "ecp256" => "ecp256",
        "ecp384" => "ecp384",
        _ => return None,
    })
}

fn pfs(word: &str) -> Option<&'static str> {
    Some(match word {
        "pfs2" => "modp1024",
        "pfs2048" => "modp2048",
        "ecp256" => "ecp256",
        "ecp384" => "ecp384",
        _ => return None,
    })
}

fn suite(encryption: &str, hash: &str) -> Option<String> {
    Some(match encryption.to_ascii_lowercase().as_str() {
        "gcmaes128" => "aes128-gcm".into(),
        "gcmaes256" => "aes256-gcm".into(),
        "aes128" => format!("aes128-{hash}"),
        "aes256" => format!("aes256-{hash}"),
        _ => return None,
    })
}

fn esp(cipher: &str, authentication: &str) -> Option<String> {
    let (cipher, authentication) = (cipher.to_ascii_lowercase(), authentication.to_ascii_lowercase());
    let hash = match authentication.as_str() {
        "sha196" => "sha1",
        "sha256128" => "sha256",
        // Both are one algorithm.
        combined if combined == cipher => "",
        _ => return None,
    };
    suite(&cipher, hash).filter(|suite| suite.ends_with("gcm") == hash.is_empty())
}
