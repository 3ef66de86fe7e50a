//! The certificate that a client was shown, and why that one: for the record and the log.
use pki::Selection;
use std::collections::BTreeMap;

/// A certificate of the gateway by the name that the configuration has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLeaf {
    pub name: String,
    /// Of the leaf.
    pub der: Vec<u8>,
}

/// Names of before, with those of now.
pub(super) type Names = BTreeMap<String, String>;

/// A certificate of the gateway as a client has seen it.
#[derive(Debug, Clone)]
pub struct Presented {
    pub subject: String,
    /// Which of those configured, and why; `None`: nobody chose.
    pub selection: Option<Selection>,
}

impl Presented {
    /// For the timeline: what was shown, `signed` saying how; what was passed over and why; what of the client's wishes nothing fulfils.
    pub fn lines(&self, signed: Option<&str>) -> Vec<String> {
        let signed = signed.map_or_else(String::new, |method| format!(", signed with {method}"));
        let Some(selection) = &self.selection else { return vec![format!("gateway presents {}{signed}", self.subject)] };
        let mut lines = vec![format!("gateway presents certificate {:?} ({}){signed}: {}", selection.name, self.subject, selection.why)];
        lines.extend(selection.passed_over.iter().map(|(name, reason)| format!("certificate {name:?} passed over: {reason}")));
        lines.extend(selection.remarks.iter().cloned());
        lines
    }

    /// What the configuration calls it.
    pub fn name(&self) -> Option<&str> {
        self.selection.as_ref().map(|selection| selection.name.as_str())
    }

    /// The configuration calls it otherwise now.
    pub(super) fn rename(&mut self, renamed: &Names) {
        if let Some(selection) = &mut self.selection
            && let Some(name) = renamed.get(&selection.name)
        {
            selection.name.clone_from(name);
        }
    }

    /// It may have been chosen under a configuration that is gone: with what this one calls it.
    pub(super) fn called_now(mut self, certificates: &[NamedLeaf]) -> Self {
        let Some(selection) = &mut self.selection else { return self };
        let same = || certificates.iter().filter(|known| known.der == selection.leaf);
        if same().all(|known| known.name != selection.name)
            && let [one] = same().collect::<Vec<_>>()[..]
        {
            selection.name = one.name.clone();
        }
        self
    }

    /// The likely reasons if the client refuses it now.
    pub fn remarks(&self) -> &[String] {
        self.selection.as_ref().map_or(&[], |selection| &selection.remarks)
    }

    /// A line of the log where there was a choice.
    pub(super) fn log(&self, attempt: &str, client: std::net::SocketAddr) {
        let Some(selection) = self.selection.as_ref().filter(|selection| selection.rule.is_some()) else { return };
        let others: Vec<_> = selection.passed_over.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        let (certificate, passed_over) = (selection.name.as_str(), others.join("; "));
        tracing::info!(attempt, %client, certificate, why = %selection.why, %passed_over, "certificate chosen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        Selection {
            index: 1,
            name: "b".into(),
            leaf: Vec::new(),
            rule: Some(pki::Rule::Default),
            is_made_out: false,
            why: "the listener's default_certificate".into(),
            passed_over: vec![("a".into(), "not the default_certificate".into())],
            remarks: vec!["no certificate is made out to x.test (IDr)".into()],
            policy: None,
            tied: None,
        }
    }

    #[test]
    fn the_record_tells_the_whole_choice() {
        let selection = selection();
        let presented = Presented { subject: "CN=b".into(), selection: Some(selection) };
        assert_eq!(
            presented.lines(Some("14 (ECDSA, SHA-256)")),
            [
                "gateway presents certificate \"b\" (CN=b), signed with 14 (ECDSA, SHA-256): the listener's default_certificate",
                "certificate \"a\" passed over: not the default_certificate",
                "no certificate is made out to x.test (IDr)",
            ]
        );
        assert_eq!(Presented { subject: "CN=b".into(), selection: None }.lines(None), ["gateway presents CN=b"]);
    }

    #[test]
    fn who_was_shown_one_under_an_earlier_configuration_was_shown_what_it_is_called_now() {
        let leaf = |name: &str, der: &str| NamedLeaf { name: name.into(), der: der.into() };
        let called = |certificates: &[NamedLeaf]| {
            let shown = Selection { name: "ours".into(), leaf: b"x".to_vec(), ..selection() };
            let presented = Presented { subject: "CN=x".into(), selection: Some(shown) };
            presented.called_now(certificates).name().map(str::to_owned)
        };
        assert_eq!(called(&[leaf("first", "x"), leaf("ours", "y")]).as_deref(), Some("first"), "names were swapped");
        assert_eq!(called(&[leaf("first", "x"), leaf("ours", "x")]).as_deref(), Some("ours"));
        assert_eq!(called(&[leaf("ours", "z")]).as_deref(), Some("ours"), "a renewed one");
    }
}
