//! Names of accounts in the forms that clients and administrators write them: `ann`, `ann@example.com`, `EXAMPLE\ann`, `host/pc1.example.com`.

/// A name, taken apart. All in lower case: directories compare without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    realm: Realm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Realm {
    Unnamed,
    /// Behind the `@`.
    Dns(String),
    /// Before the `\`.
    NetBios(String),
    /// It is a computer; its domain, if it is named.
    Computer(Option<String>),
}

impl Account {
    pub fn parse(text: &str) -> Self {
        let text = text.trim().to_lowercase();
        if let Some(host) = text.strip_prefix("host/") {
            return Self::computer(host);
        }
        if let Some((domain, name)) = text.split_once('\\') {
            return match name.strip_suffix('$') {
                Some(computer) => Self { name: computer.into(), realm: Realm::Computer(None) },
                None => Self { name: name.into(), realm: Realm::NetBios(domain.into()) },
            };
        }
        match (text.rsplit_once('@'), text.strip_suffix('$')) {
            (Some((name, domain)), _) => Self { name: name.into(), realm: Realm::Dns(domain.into()) },
            (None, Some(computer)) => Self { name: computer.into(), realm: Realm::Computer(None) },
            (None, None) => Self { name: text, realm: Realm::Unnamed },
        }
    }

    /// A computer by its DNS name or the first part of it.
    pub fn computer(name: &str) -> Self {
        let name = name.trim().trim_end_matches('.').to_lowercase();
        match name.split_once('.') {
            Some((first, domain)) => Self { name: first.into(), realm: Realm::Computer(Some(domain.into())) },
            None => Self { name, realm: Realm::Computer(None) },
        }
    }

    /// The same for all that [`Account::is`] takes for one: the name up to its first dot.
    pub fn stem(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// Whether both may name the same: what one form does not say is no difference. A NetBIOS domain is taken for the first part of its DNS name.
    pub fn is(&self, other: &Self) -> bool {
        let first = |domain: &str| domain.split('.').next().map(str::to_owned);
        let realms = match (&self.realm, &other.realm) {
            (Realm::Computer(one), Realm::Computer(two)) => one.is_none() || two.is_none() || one == two,
            // `pc1.example.com` may be what somebody calls a computer.
            (Realm::Computer(_), Realm::Unnamed) => return self.is(&Self::computer(&other.name)),
            (Realm::Unnamed, Realm::Computer(_)) => return other.is(self),
            (Realm::Computer(_), _) | (_, Realm::Computer(_)) => false,
            (Realm::Unnamed, _) | (_, Realm::Unnamed) => true,
            (Realm::Dns(one), Realm::Dns(two)) | (Realm::NetBios(one), Realm::NetBios(two)) => one == two,
            (Realm::Dns(dns), Realm::NetBios(netbios)) | (Realm::NetBios(netbios), Realm::Dns(dns)) => {
                first(dns).as_deref() == Some(netbios)
            }
        };
        realms && self.name == other.name
    }
}

/// Whether two names may be of the same account.
pub fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase() || Account::parse(one).is(&Account::parse(other))
}

/// How the Active Directory module of PowerShell finds the account; `None`: a name that nobody shall paste.
pub fn in_directory(user: &str) -> Option<String> {
    let plain = |text: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        !text.is_empty() && text.len() <= 128 && text.chars().all(fits)
    };
    let computer = |host: &str| match host.split_once('.') {
        Some(_) => format!("Get-ADComputer -Filter \"DNSHostName -eq '{host}'\""),
        None => format!("Get-ADComputer -Identity '{host}'"),
    };
    let found = match (user.strip_prefix("host/"), user.split_once('\\'), user.rsplit_once('@')) {
        (Some(host), ..) => plain(host).then(|| computer(host)),
        (None, Some((domain, name)), _) => match name.strip_suffix('$') {
            Some(host) => (plain(host) && plain(domain)).then(|| format!("{} -Server '{domain}'", computer(host))),
            None => (plain(name) && plain(domain)).then(|| format!("Get-ADUser -Identity '{name}' -Server '{domain}'")),
        },
        (None, None, Some((name, domain))) => {
            (plain(name) && plain(domain)).then(|| format!("Get-ADUser -Filter \"UserPrincipalName -eq '{user}'\""))
        }
        (None, None, None) => match user.strip_suffix('$') {
            Some(host) => plain(host).then(|| computer(host)),
            None => plain(user).then(|| format!("Get-ADUser -Identity '{user}'")),
        },
    };
    found.filter(|_| !user.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_account_are_one() {
        for (one, other, alike) in [
            ("ann", "ANN", true),
            ("ann", "ann@example.com", true),
            ("ann", "EXAMPLE\\Ann", true),
            ("ann@example.com", "example\\ann", true),
            ("ann@corp.example.com", "EXAMPLE\\ann", false),
            ("ann@example.com", "ann@example.org", false),
            ("ONE\\ann", "TWO\\ann", false),
            ("ann", "anna", false),
            ("host/pc1.example.com", "pc1", true),
            ("host/pc1.example.com", "pc1.example.com", true),
            ("host/pc1.example.com", "EXAMPLE\\PC1$", true),
            ("host/pc1.example.com", "host/pc1.example.org", false),
            ("host/pc1.example.com", "pc1@example.com", false),
            ("pc1$", "host/pc2.example.com", false),
        ] {
            assert_eq!((same(one, other), same(other, one)), (alike, alike), "{one} {other}");
            assert!(!alike || Account::parse(one).stem() == Account::parse(other).stem(), "{one} {other}");
        }
    }

    #[test]
    fn the_directory_is_asked_in_the_form_of_the_name() {
        for (user, expected) in [
            ("ann", Some("Get-ADUser -Identity 'ann'")),
            ("ann@example.com", Some("Get-ADUser -Filter \"UserPrincipalName -eq 'ann@example.com'\"")),
            ("EXAMPLE\\ann", Some("Get-ADUser -Identity 'ann' -Server 'EXAMPLE'")),
            ("host/pc1.example.com", Some("Get-ADComputer -Filter \"DNSHostName -eq 'pc1.example.com'\"")),
            ("EXAMPLE\\PC1$", Some("Get-ADComputer -Identity 'PC1' -Server 'EXAMPLE'")),
            ("ann' ; reboot", None),
            ("$(reboot)", None),
            ("-h", None),
            ("", None),
            ("@", None),
        ] {
            assert_eq!(in_directory(user).as_deref(), expected, "{user}");
        }
    }
}
