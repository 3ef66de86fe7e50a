//! Who is asked about a login: the connection request policies.
use super::authenticate::{Progress, Verdict, hides_the_user};
use super::{Asker, Gateway, Now, Plane};
use crate::facts::local_time;
use crate::login::{Denied, Granted};
use crate::outcome::Stage;
use ike::SessionId;
use policy::network::{PassedOver, Reason};
use policy::request::{self, Decision, Facts, Forward};

/// Where the rounds of one login go. It is decided once: neither the clock nor another name in a later round changes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    /// RADIUS server group, or the local provider by its name; `None`: all servers.
    pub group: Option<String>,
    /// User-Name as the servers get it.
    pub user_name: Vec<u8>,
    /// Group for the accounting of the session; `None`: all servers.
    pub accounting: Option<String>,
    /// The connection request policy that said so.
    pub policy: Option<String>,
}

impl<P: Plane> Gateway<P> {
    /// Chooses by the connection request policies; the record says which one decided.
    pub(super) fn choose(&mut self, now: Now, session: SessionId, identity: &[u8]) -> Result<Route, Denied> {
        let Some(live) = self.live.get(&session) else {
            return Err(Denied::new(Stage::Radius, "the session ended meanwhile".into()));
        };
        let listener = self.listener(session);
        let user = String::from_utf8_lossy(identity);
        let time = local_time(now.wall, &self.authority.zone);
        let facts = Facts { user: &user, tunnel: live.tunnel, listener, client: live.path.remote.ip(), time };
        let decision = request::decide(&self.settings.requests, &facts).map_err(|passed_over| unmatched(&passed_over))?;
        // A name that no rule touched goes on byte by byte, also where it is no UTF-8.
        let user_name = if decision.user == user { identity.to_vec() } else { decision.user.clone().into_bytes() };
        if let Some(text) = words(&decision, &user) {
            self.note(now, session, text);
        }
        if let Some((group, policy)) = self.later.of(now.instant, &user) {
            let (group, text) =
                (group.to_owned(), format!("server group {group:?} is asked, as policy {policy:?} said when it let this name in"));
            self.note(now, session, text);
            let accounting = decision.accounting.or(Some(group.clone()));
            return Ok(Route { group: Some(group), user_name, accounting, policy: decision.policy });
        }
        let group = match decision.forward {
            Forward::AllServers => self.settings.default_group.clone(),
            Forward::Group(group) => Some(group),
            Forward::Local => Some(local_provider::SERVER.to_owned()),
        };
        Ok(Route { group, user_name, accounting: decision.accounting, policy: decision.policy })
    }

    /// Who is asked about the next login under the name that the client wrote, as the policy says that has let it in. A name that nobody has checked is
    /// everybody's: nothing is remembered of it.
    pub(super) fn remember_group(&mut self, now: Now, session: SessionId, confirmed: bool, granted: &Granted) {
        let Some(progress) = self.live.get(&session).and_then(|live| live.login.as_ref()) else { return };
        let Ok(name) = String::from_utf8(progress.identity.clone()) else { return };
        let own = !hides_the_user(progress.eap_method) || name.eq_ignore_ascii_case(&granted.user);
        if !confirmed || !own {
            return;
        }
        let later = granted.settings.later.as_ref();
        self.later.let_in(now.instant, &name, &granted.policy, later);
        if let Some(later) = later {
            let minutes = later.time.as_secs() / 60;
            self.note(now, session, format!("later logins under this name ask server group {:?}, for {minutes} minutes", later.group));
        }
    }

    /// Refuses while the machine that asks is being drained: its answer waits until that is done.
    pub(super) fn refuse_at_once(&mut self, now: Now, session: SessionId, asker: Asker, denied: Denied) {
        let eap = eap::failure(self.eap_identifier(session));
        let verdict = Verdict::Refused { eap, message: self.told_no_dialin(session), denied };
        self.log_verdict(now, session, &verdict);
        match asker {
            Asker::Ike(id) => self.answer_ike(id, verdict),
            Asker::Certificate(id) => self.answer_certificate(id, verdict),
            Asker::Ppp(_, id) => self.answer_ppp(now, session, id, verdict),
        }
    }

    /// Name of the listener that a client dialled.
    pub(super) fn listener(&self, session: SessionId) -> &str {
        self.calls.get(&session).map_or(self.settings.ikev2_listener.as_str(), |call| call.listener())
    }

    /// The route of a login under way.
    pub(super) fn route(&self, session: SessionId) -> Option<&Route> {
        self.live.get(&session)?.login.as_ref().map(Progress::route)
    }
}

fn unmatched(passed_over: &[PassedOver]) -> Denied {
    let reasons: Vec<_> = passed_over.iter().map(|passed| format!("{:?}: {}", passed.policy, passed.reason)).collect();
    let count = passed_over.len();
    let reason = Reason::NoRequestPolicy;
    let number = reason.code();
    let reasons = reasons.join("; ");
    let cause = format!("none of {count} connection request policies matches, so no server is asked (reason {number}): {reasons}");
    Denied { reason: Some(reason), ..Denied::new(Stage::Radius, cause) }
}

/// What the record says; nothing where there is nothing to choose.
fn words(decision: &Decision, user: &str) -> Option<String> {
    let policy = decision.policy.as_ref()?;
    let renamed = if decision.user == user { String::new() } else { format!(" as {:?}", decision.user) };
    Some(format!("connection request policy {policy:?} forwards to {}{renamed}", decision.forward))
}
