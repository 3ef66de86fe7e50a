//! `[api]` and `[metrics]`: where the Admin API is served besides its socket, and where monitoring reads.
use super::error::ConfigError;
use super::reader::{Root, Section, text};
use super::{files, pem, revocation};
use crate::api::{Role, Token};
use crate::revocation::Settings;
use pki::TrustAnchors;
use std::net::SocketAddr;
use std::sync::Arc;
use tls::MutualSettings;

const API: &[&str] = &["listen", "chain", "key", "tokens_file", "client_ca", "operators", "revocation", "crl"];
const METRICS: &[&str] = &["listen"];

/// Tokens in a file at most.
const MAX_TOKENS: usize = 1_000;

/// `[api]`
#[derive(Debug, Clone)]
pub struct Api {
    pub listen: Vec<SocketAddr>,
    pub settings: Arc<MutualSettings>,
    pub tokens: Arc<Vec<Token>>,
    /// Names of certificates whose holders may operate; others of the same authorities read.
    pub operators: Vec<String>,
    /// What is asked of client certificates for want of revocation.
    pub revocation: Settings,
}

impl Api {
    /// Whoever calls is known no more: what there was, without anybody.
    pub fn without_callers(&self) -> Self {
        let settings = (*self.settings).clone().trusting(Arc::new(TrustAnchors::new(Vec::new())));
        let revocation = Settings::default();
        Self { listen: self.listen.clone(), settings: Arc::new(settings), tokens: Arc::default(), operators: Vec::new(), revocation }
    }
}

pub(super) fn api(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Option<Api>, ConfigError> {
    let Some(section) = root.section("api", API)? else { return Ok(None) };
    let listen = addresses(&section)?;
    if listen.is_empty() {
        return match API.iter().find(|key| section.has(key) && **key != "listen") {
            Some(key) => Err(section.error(key, "has no effect without listen; expected listen = [\"192.0.2.1:8443\"]")),
            None => Ok(None),
        };
    }
    let credential = pem::credential(&section, "the certificate that callers are shown, leaf first", warnings)?;
    let tokens = tokens(&section, warnings)?;
    let roots = pem::authorities(&section, "client_ca")?;
    if roots.is_empty() && section.has("client_ca") {
        return Err(section.error("client_ca", "names no authority; expected at least one PEM file with one"));
    }
    if tokens.is_empty() && roots.is_empty() {
        return Err(section.error("tokens_file", "is missing; expected tokens_file or client_ca, by which callers prove who they are"));
    }
    let name = "a name of a client certificate: its common name, or a DNS name, e-mail address or UPN";
    let operators = section.list("operators", name, |value| Ok(text(value)?.to_owned()))?.unwrap_or_default();
    if !operators.is_empty() && roots.is_empty() {
        return Err(section.error("operators", "has no effect without client_ca"));
    }
    let idle = ["revocation", "crl"].into_iter().find(|key| roots.is_empty() && section.has(key));
    if let Some(key) = idle {
        return Err(section.error(key, "has no effect without client_ca"));
    }
    let roots = TrustAnchors::new(roots);
    let revocation = revocation::of_peer(&section, &roots, warnings)?;
    let settings = MutualSettings::new(&credential, Arc::new(roots)).or_without();
    Ok(Some(Api { listen, settings: Arc::new(settings), tokens: Arc::new(tokens), operators, revocation }))
}

/// Where metrics are served without TLS; nowhere where nothing is said.
pub(super) fn metrics(root: &Root<'_>, warnings: &mut Vec<String>) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(section) = root.section("metrics", METRICS)? else { return Ok(Vec::new()) };
    let listen = addresses(&section)?;
    if let Some(wide) = listen.iter().find(|address| !address.ip().is_loopback()) {
        let what = "numbers about this gateway, without names of users";
        warnings.push(format!("metrics: {wide} serves {what}, to whoever reaches it; a firewall should say who does"));
    }
    Ok(listen)
}

fn addresses(section: &Section<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    let what = "addresses of this host with a port, such as [\"127.0.0.1:9464\"]";
    let listen = section.list("listen", what, |value| text(value)?.parse::<SocketAddr>().map_err(|_| String::new()))?;
    Ok(listen.unwrap_or_default())
}

/// A line each: role, name, SHA-256 of the token.
fn tokens(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<Vec<Token>, ConfigError> {
    let Some(path) = section.path("tokens_file")? else { return Ok(Vec::new()) };
    let bytes = files::read_secret(section, "tokens_file", &path, warnings)?;
    let wrong = |line: usize, what: &str| section.error("tokens_file", format!("{} line {line}: {what}", path.display()));
    let lines = std::str::from_utf8(&bytes).map_err(|_| wrong(1, "is no text"))?.lines().enumerate();
    let mut tokens: Vec<Token> = Vec::new();
    for (index, line) in lines.map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    {
        let token = token(line)
            .ok_or_else(|| wrong(index, "expected `read NAME SHA256` or `operate NAME SHA256`, as `evergate token` prints it"))?;
        if tokens.iter().any(|other| other.name == token.name) {
            return Err(wrong(index, "another token has this name"));
        }
        tokens.push(token);
    }
    if tokens.len() > MAX_TOKENS {
        return Err(section.error("tokens_file", format!("holds more than {MAX_TOKENS} tokens")));
    }
    Ok(tokens)
}

fn token(line: &str) -> Option<Token> {
    let mut words = line.split_whitespace();
    let role = match words.next()? {
        "read" => Role::Read,
        "operate" => Role::Operate,
        _ => return None,
    };
    let (name, digest) = (words.next()?.to_owned(), words.next()?);
    if words.next().is_some() || digest.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digest.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(Token { name, role, hash })
}
