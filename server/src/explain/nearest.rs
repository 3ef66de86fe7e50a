//! Where policies refuse: the condition that would match what RADIUS said of the user, beside the one that asks for it elsewhere.
use crate::facts::Known;
use policy::glob;
use policy::network::{Conditions, Policy};
use std::borrow::Cow;

/// A condition that failed, and what would have matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// A sentence.
    pub told: String,
    /// The policy, the key to take out, and the line to put in its place.
    pub mend: Option<(String, &'static str, String)>,
}

/// A condition on what RADIUS says: its key, its patterns, and what came of that kind.
struct Asked<'a> {
    key: &'static str,
    /// What RADIUS calls it.
    attribute: &'static str,
    patterns: &'a [String],
    values: Vec<Cow<'a, str>>,
}

impl<'a> Asked<'a> {
    fn all(conditions: &'a Conditions, known: &'a Known) -> [Self; 3] {
        let class = known.class.iter().map(|class| String::from_utf8_lossy(class)).collect();
        let texts = |texts: &'a [String]| texts.iter().map(|text| Cow::Borrowed(text.as_str())).collect();
        let Conditions { group, class: by_class, filter_id, .. } = conditions;
        [
            Self { key: "group", attribute: "group", patterns: group, values: texts(&known.groups) },
            Self { key: "class", attribute: "Class", patterns: by_class, values: class },
            Self { key: "filter_id", attribute: "Filter-Id", patterns: filter_id, values: texts(&known.filter_id) },
        ]
    }

    fn matching(&self, values: &[Cow<'_, str>]) -> Option<String> {
        let found = values.iter().find(|value| self.patterns.iter().any(|pattern| glob::matches(pattern, value)));
        found.map(|value| value.clone().into_owned())
    }
}

/// Of the first of these policies that would let in but for such a condition. `local`: users of the gateway's own file have groups.
pub fn nearest(policies: &[&Policy], known: &Known, local: bool) -> Option<Nearest> {
    let granting = || policies.iter().copied().filter(|policy| policy.grant && !policy.disabled);
    let elsewhere = granting().find_map(|policy| of_conditions(&policy.name, &policy.conditions, known));
    elsewhere.or_else(|| granting().filter(|_| !local).find_map(|policy| in_vain(policy, known)))
}

fn of_conditions(policy: &str, conditions: &Conditions, known: &Known) -> Option<Nearest> {
    let all = Asked::all(conditions, known);
    let failed = all.iter().filter(|asked| !asked.patterns.is_empty() && asked.matching(&asked.values).is_none());
    let found = failed.into_iter().find_map(|asked| {
        let others = all.iter().filter(|other| other.key != asked.key);
        let (other, value) = others.into_iter().find_map(|other| Some((other, asked.matching(&other.values)?)))?;
        let line = format!(
            "{} = [{}]",
            other.key,
            asked.patterns.iter().map(|pattern| toml::Value::from(pattern.as_str()).to_string()).collect::<Vec<_>>().join(", ")
        );
        let told = format!(
            "Nearest: policy {policy:?} asks for this in its condition {}, while RADIUS says it in {} ({value:?}): `{line}` would match.",
            asked.key, other.attribute
        );
        Some(Nearest { told, mend: Some((policy.to_owned(), asked.key, line)) })
    });
    found.or_else(|| [&conditions.any, &conditions.all].into_iter().flatten().find_map(|group| of_conditions(policy, group, known)))
}

/// A group is asked for, and nobody says any.
fn in_vain(policy: &Policy, known: &Known) -> Option<Nearest> {
    fn asks(conditions: &Conditions) -> bool {
        !conditions.group.is_empty() || [&conditions.any, &conditions.all].into_iter().flatten().any(asks)
    }
    let told = format!(
        "Policy {:?} asks for a group, and got none: RADIUS names groups by Class or Filter-Id; use `class`, and let the RADIUS server send it.",
        policy.name
    );
    (known.groups.is_empty() && asks(&policy.conditions)).then_some(Nearest { told, mend: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::network::Method;

    fn known(class: &str) -> Known {
        Known { class: vec![class.as_bytes().to_vec()], ..Known::by(Method::Eap, true) }
    }

    fn granting(name: &str, conditions: Conditions) -> Policy {
        Policy { name: name.into(), grant: true, conditions, ..Policy::default() }
    }

    fn group(name: &str) -> Conditions {
        Conditions { group: vec![name.into()], ..Conditions::default() }
    }

    #[test]
    fn what_radius_says_elsewhere_is_named_with_the_line_that_matches() {
        let policies = [granting("admins", group("admins")), granting("staff", group("staff"))];
        let found = nearest(&policies.each_ref(), &known("staff"), false).unwrap();
        assert_eq!(found.mend, Some(("staff".into(), "group", "class = [\"staff\"]".into())));
        assert!(found.told.contains("in Class (\"staff\")"), "{}", found.told);
        let inside = granting("staff", Conditions { any: vec![group("st*")], ..Conditions::default() });
        assert_eq!(nearest(&[&inside], &known("staff"), false).unwrap().mend.unwrap().2, "class = [\"st*\"]");
    }

    #[test]
    fn a_group_that_nobody_names_is_told() {
        let policies = [granting("staff", group("staff"))];
        let found = nearest(&policies.each_ref(), &known("guest"), false).unwrap();
        assert!(found.told.contains("got none: RADIUS names groups by Class or Filter-Id; use `class`") && found.mend.is_none());
        assert_eq!(nearest(&policies.each_ref(), &known("guest"), true), None, "users of the file have groups");
    }

    #[test]
    fn refusing_and_disabled_policies_are_not_to_be_met() {
        let deny = Policy { grant: false, ..granting("guests", group("staff")) };
        let off = Policy { disabled: true, ..granting("off", group("staff")) };
        assert_eq!(nearest(&[&deny, &off], &known("staff"), false), None);
        let met = Conditions { class: vec!["staff".into()], ..Conditions::default() };
        assert_eq!(nearest(&[&granting("staff", met)], &known("staff"), false), None, "that is not what failed");
    }
}
