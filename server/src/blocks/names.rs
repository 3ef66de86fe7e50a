//! Names of users and computers in all the forms in which they log in: `alice`, `alice@corp.example`, `CORP\alice`, `host/pc1.corp.example`,
//! `CORP\PC1$`.
//!
//! An operator who blocks `alice` means her under every form; one who blocks `alice@corp.example` means the alice of that realm. Windows knows a domain
//! by two names, `corp.example` and `CORP`, usually the first label of the other: they are taken for one another.

/// A name as an entry of the list has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) account: String,
    /// `None`: of every realm.
    pub(super) realm: Option<String>,
}

/// A name as somebody logs in with it. What a server makes of `a@b@c` nobody here knows: every reading counts.
#[derive(Debug, Default)]
pub(super) struct Forms {
    pub(super) accounts: Vec<String>,
    realms: Vec<String>,
    /// It is a computer's.
    pub(super) is_machine: bool,
}

impl Name {
    /// A computer's name, whatever form it has.
    pub(super) fn of_machine(text: &str) -> Self {
        let text = folded(text);
        let (text, realm) = split_account(host(&text).unwrap_or(&text));
        let account = text.strip_suffix('$').unwrap_or(text);
        match (account.split_once('.'), realm) {
            (Some((label, domain)), None) => Self { account: label.to_owned(), realm: Some(domain.to_owned()) },
            (_, realm) => Self { account: account.to_owned(), realm },
        }
    }

    /// Anybody's but a computer's.
    pub(super) fn of_user(text: &str) -> Self {
        let text = folded(text);
        let (account, realm) = split_account(&text);
        Self { account: account.to_owned(), realm }
    }

    /// One of this account is meant, if he is of the realm.
    pub(super) fn means(&self, forms: &Forms) -> bool {
        match &self.realm {
            None => true,
            Some(realm) => forms.realms.iter().any(|other| same_realm(realm, other)),
        }
    }

    /// The same, or he has no realm, so that he may be of any.
    pub(super) fn may_mean(&self, forms: &Forms) -> bool {
        forms.realms.is_empty() || self.means(forms)
    }
}

impl Forms {
    /// Of a user's name, which may be a computer's too.
    pub(super) fn of_user(text: &str) -> Self {
        let text = folded(text);
        if let Some(host) = host(&text) {
            return Self::of_host(host);
        }
        let mut forms = Self::default();
        let rest = match text.rsplit_once('\\') {
            Some((domain, rest)) => {
                forms.realm(domain);
                rest
            }
            None => &text,
        };
        forms.account(rest);
        for (account, realm) in [rest.split_once('@'), rest.rsplit_once('@')].into_iter().flatten() {
            forms.account(account);
            forms.realm(realm);
        }
        forms.is_machine = forms.accounts.iter().any(|account| account.ends_with('$'));
        for account in forms.accounts.clone() {
            account.strip_suffix('$').into_iter().for_each(|account| forms.account(account));
        }
        forms
    }

    /// Of a computer's name.
    pub(super) fn of_machine(text: &str) -> Self {
        let folded = folded(text);
        let name = host(&folded).unwrap_or(&folded);
        if name.contains(['\\', '@', '$']) { Self { is_machine: true, ..Self::of_user(name) } } else { Self::of_host(name) }
    }

    fn of_host(name: &str) -> Self {
        let mut forms = Self { is_machine: true, ..Self::default() };
        forms.account(name);
        if let Some((label, domain)) = name.split_once('.') {
            forms.account(label);
            forms.realm(domain);
        }
        forms
    }

    fn account(&mut self, account: &str) {
        let account = account.trim();
        if !account.is_empty() && !self.accounts.iter().any(|known| known == account) {
            self.accounts.push(account.to_owned());
        }
    }

    fn realm(&mut self, realm: &str) {
        let realm = trimmed(realm);
        if !realm.is_empty() {
            self.realms.push(realm.to_owned());
        }
    }
}

/// Whether somebody with such a name is a computer.
pub(super) fn is_machine(text: &str) -> bool {
    crate::facts::machine(text.trim()).is_some()
}

fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}

fn host(folded: &str) -> Option<&str> {
    folded.strip_prefix("host/").map(trimmed).filter(|name| !name.is_empty())
}

fn split_account(text: &str) -> (&str, Option<String>) {
    let split = text.rsplit_once('\\').map(|(realm, account)| (account, realm)).or_else(|| text.split_once('@'));
    match split.map(|(account, realm)| (account.trim(), trimmed(realm))) {
        Some((account, realm)) if !account.is_empty() && !realm.is_empty() => (account, Some(realm.to_owned())),
        _ => (text, None),
    }
}

/// A DNS name may end with the dot of the root.
fn trimmed(realm: &str) -> &str {
    realm.trim().trim_end_matches('.')
}

fn same_realm(a: &str, b: &str) -> bool {
    let label = |name: &str| name.split('.').next().map(str::to_owned);
    a == b || ((!a.contains('.') || !b.contains('.')) && label(a) == label(b))
}
