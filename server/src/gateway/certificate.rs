//! Clients that prove themselves by a certificate: who may come in, by policy alone or by what RADIUS says of its name.
use super::authenticate::{Progress, Verdict, fingerprint};
use super::ikev2::{grant, wanted};
use super::{Asker, Gateway, Now, Plane};
use crate::outcome::Stage;
use ike::{AddressRequest, Answer, AskId, Denial, SessionId};
use policy::network::Method;
use radius_client::Credentials;

/// Who decides about the holder of a verified certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CertificateAuthorization {
    /// The network policies.
    #[default]
    Policy,
    /// A RADIUS server that knows its name; then the network policies, with what the Access-Accept says.
    Radius,
}

impl<P: Plane> Gateway<P> {
    /// May the holder of a verified certificate come in?
    pub(super) fn admit_certificate(
        &mut self,
        now: Now,
        session: SessionId,
        id: AskId,
        certificate: &pki::Certificate,
        request: AddressRequest,
    ) {
        let by_radius = self.settings.certificate_authorization == CertificateAuthorization::Radius;
        let name = Name::of(certificate);
        let user = if by_radius { name.in_radius() } else { name.text.to_owned() };
        if let Some(live) = self.live.get_mut(&session) {
            let mut progress = Progress::new(user.clone().into_bytes(), wanted(request), Method::Certificate);
            progress.machine = name.is_host.then(|| name.text.to_owned());
            progress.certificate = Some(crate::facts::certificate(certificate));
            progress.fingerprint = Some(fingerprint(&certificate.der));
            live.login = Some(progress);
            self.roll.file(session, Some(live));
            if let Some(attempt) = self.attempts.get_mut(live.attempt) {
                attempt.set_user(user.clone());
                if name.is_host {
                    attempt.set_machine(name.text);
                }
                attempt.note(now.instant, format!("client certificate {} (serial {}) accepted", certificate.subject, certificate.serial));
                if by_radius {
                    attempt.reach(now.instant, Stage::Radius);
                }
            }
        }
        if by_radius {
            return self.ask_login(now, session, Asker::Certificate(id), user.as_bytes(), Credentials::Certificate);
        }
        let who = self.authenticated_by(session, &user, true, Method::Certificate);
        let inner = self.settings.inner;
        let decided = self.authorize(now, session, &who);
        self.log_login(now, session, decided.as_ref());
        let answer = decided.map(|granted| Box::new(grant(&granted, inner))).map_err(Denial::from);
        self.answers.push_back((id, Answer::Certificate(answer)));
    }

    /// What RADIUS and policy said of a certificate, for the IKE machine.
    pub(super) fn answer_certificate(&mut self, id: AskId, verdict: Verdict) {
        let answer = match verdict {
            Verdict::Granted { granted, .. } => Ok(Box::new(grant(&granted, self.settings.inner))),
            Verdict::Refused { denied, .. } => Err(denied.into()),
            // Nothing but EAP goes on.
            Verdict::Continue { .. } => Err(Denial { stage: ike::Stage::Radius, cause: "RADIUS goes on after one question".into() }),
        };
        self.answers.push_back((id, Answer::Certificate(answer)));
    }
}

/// The machine or user that a certificate stands for: UPN, e-mail, DNS name, common name, whichever comes first.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    text: &'a str,
    /// A DNS name of the subject alternative names: that of a computer.
    is_host: bool,
}

impl<'a> Name<'a> {
    fn of(certificate: &'a pki::Certificate) -> Self {
        let user = certificate.upns.first().or(certificate.emails.first());
        let host = certificate.dns_names.first().filter(|_| user.is_none());
        let text = user.or(host).or(certificate.common_name.as_ref()).unwrap_or(&certificate.subject);
        Self { text, is_host: host.is_some() }
    }

    /// As directories know computers: `host/pc1.example.com` (Windows sends the same in EAP-TLS with a machine certificate).
    fn in_radius(&self) -> String {
        if self.is_host { format!("host/{}", self.text) } else { self.text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computers_have_the_name_that_directories_know() {
        let name = |text, is_host| Name { text, is_host }.in_radius();
        assert_eq!(name("pc1.example.test", true), "host/pc1.example.test");
        assert_eq!(name("alice@example.test", false), "alice@example.test");
    }
}
