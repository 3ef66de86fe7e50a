//! `[[filter]]`.
use super::error::ConfigError;
use super::reader::{Root, Section, text};
use policy::filter::{Action, Direction, Filter, Rule};
use std::sync::Arc;

const FILTER: &[&str] = &["name", "rules", "default_in", "default_out"];

pub(super) fn filters(root: &Root<'_>) -> Result<Vec<Arc<Filter>>, ConfigError> {
    let mut filters: Vec<Arc<Filter>> = Vec::new();
    for section in root.sections("filter", FILTER)? {
        let filter = filter(&section)?;
        if filters.iter().any(|known| known.name.eq_ignore_ascii_case(&filter.name)) {
            return Err(section.error("name", "is taken by another [[filter]]; letter case does not tell them apart"));
        }
        filters.push(Arc::new(filter));
    }
    Ok(filters)
}

fn filter(section: &Section<'_>) -> Result<Filter, ConfigError> {
    let name = section.name()?;
    let ambiguous = |direction: &&Direction| name.to_ascii_lowercase().ends_with(&format!(".{direction}"));
    if let Some(direction) = [Direction::In, Direction::Out].iter().find(ambiguous) {
        return Err(
            section.error("name", format!("ends with \".{direction}\", which in a Filter-Id means one direction; expected another name"))
        );
    }
    let expected = "rules such as \"permit in tcp from any to 10.0.0.0/8 443\"";
    let rule = |value: &super::source::Value| {
        let text = text(value)?;
        Rule::parse(text).map(|_| text.to_owned()).map_err(|bad| bad.to_string())
    };
    let rules = section.list("rules", expected, rule)?.unwrap_or_default();
    let defaults = [default(section, "default_in")?, default(section, "default_out")?];
    if rules.is_empty() && !defaults.contains(&Some(Action::Deny)) {
        return Err(section.error("rules", format!("has none, and nothing is denied without; expected {expected}")));
    }
    Filter::parse(&name, rules.iter().map(String::as_str), defaults).map_err(|bad| section.error("rules", bad.to_string()))
}

fn default(section: &Section<'_>, key: &str) -> Result<Option<Action>, ConfigError> {
    section.choice(key, &[("permit", Action::Permit), ("deny", Action::Deny)])
}
