//! Which filters and rate limits hold for a session: those of its policy, and those that RADIUS sent. All of them hold, the lower rate counts, and what
//! cannot be kept lets nobody in.
use crate::login::Denied;
use policy::filter::microsoft::{self, Family};
use policy::filter::{BadRule, Filter, RateLimit, Restrictions, named};
use policy::network::{Policy, Settings};
use radius_client::Accept;
use radius_client::dynamic::Changes;
use std::sync::Arc;
use std::time::Duration;

/// How long a session that was silent may exceed its rate, where nothing else is said.
const BURST: Duration = Duration::from_millis(200);

/// What an Access-Accept said of filters and rates, Filter-Id apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FromReply {
    /// Filter-Id names no filter either: `ignore_filters` of the server that answered.
    pub ignored: bool,
    /// Of NAS-Filter-Rule, MS-Filter and MS-IPv6-Filter.
    rules: Option<Arc<Filter>>,
    ms_filter: Option<Arc<Filter>>,
    ms_ipv6_filter: Option<Arc<Filter>>,
    /// Bits a second.
    pub rate_in: Option<u64>,
    pub rate_out: Option<u64>,
}

impl FromReply {
    /// # Errors
    /// A filter that cannot be kept.
    pub fn read(accept: &Accept) -> Result<Self, Denied> {
        let from = &accept.filters;
        Ok(Self {
            ignored: from.ignored,
            rules: of_rules(&from.rules).map_err(|bad| unkept(&bad))?,
            ms_filter: of_windows(Family::Ipv4, &from.ms_filter).map_err(|bad| unkept(&bad))?,
            ms_ipv6_filter: of_windows(Family::Ipv6, &from.ms_ipv6_filter).map_err(|bad| unkept(&bad))?,
            rate_in: accept.bandwidth_up.map(Into::into),
            rate_out: accept.bandwidth_down.map(Into::into),
        })
    }

    /// The same with what a CoA brings, each attribute in the place of its like.
    ///
    /// # Errors
    /// A filter that cannot be kept.
    pub fn with(&self, changes: &Changes) -> Result<Self, BadRule> {
        let mut changed = self.clone();
        if let Some(rules) = &changes.rules {
            changed.rules = of_rules(rules)?;
        }
        if let Some(value) = &changes.ms_filter {
            changed.ms_filter = of_windows(Family::Ipv4, value)?;
        }
        if let Some(value) = &changes.ms_ipv6_filter {
            changed.ms_ipv6_filter = of_windows(Family::Ipv6, value)?;
        }
        if let Some(rate) = changes.bandwidth_up {
            changed.rate_in = rate.map(Into::into);
        }
        if let Some(rate) = changes.bandwidth_down {
            changed.rate_out = rate.map(Into::into);
        }
        Ok(changed)
    }

    fn filters(&self) -> impl Iterator<Item = &Arc<Filter>> {
        self.rules.iter().chain(&self.ms_filter).chain(&self.ms_ipv6_filter)
    }
}

fn of_rules(values: &[Vec<u8>]) -> Result<Option<Arc<Filter>>, BadRule> {
    (!values.is_empty()).then(|| Filter::of_attributes(values).map(Arc::new)).transpose()
}

fn of_windows(family: Family, value: &[u8]) -> Result<Option<Arc<Filter>>, BadRule> {
    (!value.is_empty()).then(|| microsoft::parse(family, value).map(Arc::new)).transpose()
}

/// What holds for a session that these settings were granted to.
///
/// # Errors
/// A Filter-Id that names neither one of `filters` nor a group in a policy's condition.
pub fn of_session(
    filters: &[Arc<Filter>],
    policies: &[Policy],
    settings: &Settings,
    filter_ids: &[String],
    reply: &FromReply,
) -> Result<Restrictions, Denied> {
    let mut all = settings.filters.clone();
    if !reply.ignored {
        all.extend(by_name(filters, policies, filter_ids)?);
    }
    all.extend(reply.filters().cloned());
    let burst = settings.rate_limit_burst.unwrap_or(BURST);
    let rate = |own: Option<u64>, theirs: Option<u64>| {
        let lower = own.into_iter().chain(theirs).min();
        lower.map(|bits_per_second| RateLimit { bits_per_second, burst })
    };
    Ok(Restrictions {
        filters: all,
        rate_in: rate(settings.rate_limit_in, reply.rate_in),
        rate_out: rate(settings.rate_limit_out, reply.rate_out),
    })
}

/// The filters that Filter-Ids name. One that a policy's condition speaks of may be the name of a group.
///
/// # Errors
/// See [`of_session`].
pub fn by_name(filters: &[Arc<Filter>], policies: &[Policy], filter_ids: &[String]) -> Result<Vec<Arc<Filter>>, Denied> {
    let is_group = |id: &str| policies.iter().any(|policy| policy.conditions.names_filter_id(id));
    let mut found = Vec::new();
    for id in filter_ids {
        match named(filters, id) {
            Some(filter) => found.push(filter),
            None if is_group(id) => {}
            None => return Err(Denied::unusable(unknown(id))),
        }
    }
    Ok(found)
}

fn unknown(id: &str) -> String {
    format!(
        "RADIUS names the packet filter {id:?} (Filter-Id), which is not configured: add a [[filter]] of this name, or a policy with the condition filter_id where it is the name of a group, or set ignore_filters for this server"
    )
}

fn unkept(bad: &BadRule) -> Denied {
    let cause = format!(
        "the Access-Accept carries a packet filter that cannot be kept, {bad}: correct it in the policy there, or set ignore_filters for this server"
    );
    Denied::unusable(cause)
}

/// In words, for the record; empty where there are none.
pub fn words(restrictions: &Restrictions) -> String {
    let filters: Vec<_> = restrictions.filters.iter().map(|filter| filter.name.as_str()).collect();
    let rate = |direction: &str, limit: Option<RateLimit>| limit.map(|limit| format!("{direction} {} bit/s", limit.bits_per_second));
    let parts = [
        (!filters.is_empty()).then(|| format!("filters {}", filters.join(", "))),
        rate("from the client at most", restrictions.rate_in),
        rate("to it at most", restrictions.rate_out),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Fault, Stage};
    use policy::network::Conditions;
    use radius_client::ReplyFilters;

    fn configured() -> Vec<Arc<Filter>> {
        let web = Filter::parse("web", ["permit in tcp from any to any 443", "deny out ip from any to any"], [None; 2]).unwrap();
        vec![Arc::new(web)]
    }

    fn names(restrictions: &Restrictions) -> Vec<&str> {
        restrictions.filters.iter().map(|filter| filter.name.as_str()).collect()
    }

    fn session(settings: &Settings, ids: &[&str], reply: &FromReply) -> Result<Restrictions, Denied> {
        let conditions = Conditions { filter_id: vec!["staff*".into()], ..Conditions::default() };
        let policy = Policy { name: "staff".into(), grant: true, conditions, ..Policy::default() };
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        of_session(&configured(), &[policy], settings, &ids, reply)
    }

    #[test]
    fn all_filters_hold_and_the_lower_rate() {
        let settings = Settings { filters: configured(), rate_limit_in: Some(5_000), rate_limit_out: Some(9_000), ..Settings::default() };
        let accept = Accept {
            filters: ReplyFilters { rules: vec![b"deny in ip from any to any".to_vec()], ..ReplyFilters::default() },
            bandwidth_up: Some(7_000),
            bandwidth_down: Some(8_000),
            ..Accept::default()
        };
        let reply = FromReply::read(&accept).unwrap();
        let all = session(&settings, &["Web.out"], &reply).unwrap();
        assert_eq!(names(&all), ["web", "web.out", "NAS-Filter-Rule"]);
        let rates = (all.rate_in.unwrap().bits_per_second, all.rate_out.unwrap().bits_per_second, all.rate_in.unwrap().burst);
        assert_eq!(rates, (5_000, 8_000, BURST));
        assert_eq!(words(&all), "filters web, web.out, NAS-Filter-Rule; from the client at most 5000 bit/s; to it at most 8000 bit/s");
        assert!(session(&Settings::default(), &[], &FromReply::default()).unwrap().is_empty());
    }

    #[test]
    fn a_filter_id_is_a_filter_or_a_groups_name() {
        let none = FromReply::default();
        assert!(session(&Settings::default(), &["staff-7"], &none).unwrap().is_empty());
        let denied = session(&Settings::default(), &["web", "guests"], &none).unwrap_err();
        assert_eq!((denied.stage, denied.fault), (Stage::Radius, Fault::Misconfigured));
        assert!(denied.cause.contains("\"guests\" (Filter-Id), which is not configured"), "{}", denied.cause);
        let ignored = FromReply { ignored: true, ..FromReply::default() };
        assert!(session(&Settings::default(), &["web", "guests"], &ignored).unwrap().is_empty());
    }

    #[test]
    fn a_group_may_be_named_in_any_group_of_conditions() {
        let named = Conditions { filter_id: vec!["staff".into()], ..Conditions::default() };
        let reply = vec![policy::network::Attribute { name: "filter-id".into(), value: "staff".into() }];
        let in_reply = Conditions { reply, ..Conditions::default() };
        let any = Conditions { any: vec![named.clone()], ..Conditions::default() };
        let deep = Conditions { all: vec![any.clone()], ..Conditions::default() };
        let not = Conditions { not: vec![named], ..Conditions::default() };
        for conditions in [in_reply, any, deep, not] {
            let policy = Policy { name: "p".into(), grant: true, conditions, ..Policy::default() };
            let found = |id: &str| by_name(&configured(), std::slice::from_ref(&policy), &[id.to_owned()]).is_ok();
            assert!(found("staff") && !found("guests"), "{policy:?}");
        }
    }

    #[test]
    fn a_change_takes_the_place_of_its_like() {
        let rules = |text: &str| vec![text.as_bytes().to_vec()];
        let accept = Accept {
            filters: ReplyFilters { rules: rules("deny in ip from any to any"), ..ReplyFilters::default() },
            bandwidth_up: Some(7_000),
            ..Accept::default()
        };
        let reply = FromReply::read(&accept).unwrap();
        let hold = |changes: Changes| session(&Settings::default(), &[], &reply.with(&changes).unwrap()).unwrap();
        let slower = hold(Changes { bandwidth_down: Some(Some(5_000)), ..Changes::default() });
        assert_eq!(words(&slower), "filters NAS-Filter-Rule; from the client at most 7000 bit/s; to it at most 5000 bit/s");
        let free = hold(Changes { bandwidth_up: Some(None), ..Changes::default() });
        assert_eq!(words(&free), "filters NAS-Filter-Rule");
        let other = hold(Changes { rules: Some(rules("permit in ip from any to any")), ..Changes::default() });
        assert_eq!(names(&other), ["NAS-Filter-Rule"]);
        assert_ne!(other.filters, slower.filters);
        assert!(reply.with(&Changes { rules: Some(rules("permit in ip from any to moon")), ..Changes::default() }).is_err());
        assert!(reply.with(&Changes { ms_filter: Some(vec![1, 0, 0, 0]), ..Changes::default() }).is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for filters in [
            ReplyFilters { rules: vec![b"permit in ip from any to moon".to_vec()], ..ReplyFilters::default() },
            ReplyFilters { ms_filter: vec![1, 0, 0, 0], ..ReplyFilters::default() },
            ReplyFilters { ms_ipv6_filter: vec![7; 90], ..ReplyFilters::default() },
        ] {
            let denied = FromReply::read(&Accept { filters, ..Accept::default() }).unwrap_err();
            assert!(denied.cause.contains("cannot be kept") && denied.cause.contains("ignore_filters"), "{}", denied.cause);
        }
    }
}
