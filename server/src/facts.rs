//! What the policies get to know of a login, in the shape that they want.
use crate::restrictions::FromReply;
use policy::network::{Certificate, Facts, LocalTime, Method, Tunnel};
use radius_client::Accept;
use std::net::IpAddr;

/// NAS-Port-Type of every session (RFC 2865 section 5.41).
pub const PORT_TYPE_VIRTUAL: u32 = 5;

/// Where a login comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub tunnel: Tunnel,
    /// Outer addresses of client and gateway.
    pub client: IpAddr,
    pub gateway: IpAddr,
    pub listener: String,
    /// The name of the gateway that the client asked for: SNI, IDr.
    pub server_name: Option<String>,
    /// The gateway's certificate that it was shown, by its name in the configuration.
    pub certificate: Option<String>,
    /// Key length of what protects the login; `None`: unknown.
    pub cipher_bits: Option<u16>,
}

/// Facts of a login that outlive it, so that policies can judge again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub method: Method,
    /// The EAP method by its name.
    pub eap_type: Option<String>,
    /// See [`crate::login::Authenticated::confirmed`].
    pub confirmed: bool,
    /// Name of the computer that logged in.
    pub machine: Option<String>,
    pub certificate: Option<Certificate>,
    pub class: Vec<Vec<u8>>,
    /// For accounting.
    pub chargeable_user_identity: Option<Vec<u8>>,
    pub filter_id: Vec<String>,
    pub groups: Vec<String>,
    /// See [`crate::login::Authenticated::server`].
    pub server: Option<String>,
    pub server_group: Option<String>,
    /// Attributes of the Access-Accept as text.
    pub attributes: Vec<(String, String)>,
    /// Filters and rates beside Filter-Id.
    pub reply: FromReply,
}

impl Known {
    /// Nothing but how somebody proved a name.
    pub fn by(method: Method, confirmed: bool) -> Self {
        Self {
            method,
            eap_type: None,
            confirmed,
            machine: None,
            certificate: None,
            class: Vec::new(),
            chargeable_user_identity: None,
            filter_id: Vec::new(),
            groups: Vec::new(),
            server: None,
            server_group: None,
            attributes: Vec::new(),
            reply: FromReply::default(),
        }
    }

    /// With what RADIUS said.
    pub fn with(mut self, accept: Option<&Accept>) -> Self {
        if let Some(accept) = accept {
            self.class.clone_from(&accept.class);
            self.chargeable_user_identity.clone_from(&accept.chargeable_user_identity);
            self.filter_id.clone_from(&accept.filter_id);
            self.groups.clone_from(&accept.groups);
            self.attributes.clone_from(&accept.attributes);
        }
        self
    }

    /// See [`hides_a_certificate`].
    pub fn hides_a_certificate(&self) -> bool {
        hides_a_certificate(self.method, self.eap_type.as_deref(), self.certificate.as_ref())
    }

    /// All that the policies look at.
    pub fn facts<'a>(&'a self, place: &'a Place, user: &'a str, time: LocalTime) -> Facts<'a> {
        Facts {
            tunnel: place.tunnel,
            authenticated: true,
            method: self.method,
            eap_type: self.eap_type.as_deref(),
            user,
            confirmed: self.confirmed,
            machine: self.machine.as_deref(),
            client: place.client,
            gateway: place.gateway,
            port_type: PORT_TYPE_VIRTUAL,
            listener: &place.listener,
            server_name: place.server_name.as_deref(),
            shown: place.certificate.as_deref(),
            certificate: self.certificate.as_ref(),
            certificate_hidden: self.hides_a_certificate(),
            cipher_bits: place.cipher_bits,
            class: &self.class,
            filter_id: &self.filter_id,
            group: &self.groups,
            radius_server: self.server.as_deref(),
            radius_group: self.server_group.as_deref(),
            reply: &self.attributes,
            time,
        }
    }
}

/// Whether a client may have shown a certificate to the RADIUS server that was not seen here: TLS 1.3 encrypts it, a resumed session leaves it out,
/// and what happens inside PEAP and its like is hidden.
pub fn hides_a_certificate(method: Method, eap_type: Option<&str>, seen: Option<&Certificate>) -> bool {
    let may_show =
        |name: &str| (0..=u8::MAX).find(|&number| eap::method::name(number) == name).is_none_or(eap::method::may_show_a_certificate);
    seen.is_none() && method == Method::Eap && eap_type.is_some_and(may_show)
}

/// The computer that a name stands for: `host/pc1.example.com` as Windows writes it, or an account such as `EXAMPLE\PC1$`.
pub fn machine(user: &str) -> Option<String> {
    if let Some((prefix, name)) = user.split_at_checked("host/".len())
        && prefix.eq_ignore_ascii_case("host/")
        && !name.is_empty()
    {
        return Some(name.to_owned());
    }
    let account = user.rsplit_once('\\').map_or(user, |(_, account)| account);
    let account = account.split_once('@').map_or(account, |(account, _)| account);
    account.strip_suffix('$').filter(|name| !name.is_empty()).map(str::to_owned)
}

/// What policies look at in a certificate.
pub fn certificate(certificate: &pki::Certificate) -> Certificate {
    let addresses = certificate.ip_addresses.iter().map(IpAddr::to_string);
    let names = [&certificate.upns, &certificate.emails, &certificate.dns_names];
    Certificate {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        san: names.into_iter().flatten().cloned().chain(addresses).collect(),
        eku: certificate.eku.clone().unwrap_or_default(),
        template: certificate.template.clone(),
        serial: certificate.serial.clone(),
    }
}

/// Key length of the cipher that a suite names, such as `AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384` or `TLSv1_3 TLS_AES_256_GCM_SHA384`.
pub fn cipher_bits(suite: &str) -> Option<u16> {
    let cipher = suite.split('/').next()?;
    if cipher.contains("CHACHA20") {
        return Some(256);
    }
    let (_, aes) = cipher.split_once("AES")?;
    aes.split('_').find_map(|word| word.parse().ok().filter(|bits| [128, 192, 256].contains(bits)))
}

/// Weekday and minute of `now` in `zone`.
pub fn local_time(now: jiff::Timestamp, zone: &jiff::tz::TimeZone) -> LocalTime {
    let local = now.to_zoned(zone.clone());
    LocalTime {
        weekday: local.weekday().to_monday_zero_offset().unsigned_abs(),
        minute: u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs()),
    }
}

/// When the clock on the wall in `zone` shows `minutes` more than at the beginning of this minute: an hour that is left out or comes twice when
/// clocks are changed is not counted as one.
pub fn on_the_wall(now: jiff::Timestamp, minutes: u32, zone: &jiff::tz::TimeZone) -> Option<jiff::Timestamp> {
    let minute = now.to_zoned(zone.clone()).datetime().with().second(0).subsec_nanosecond(0).build().ok()?;
    let later = minute.checked_add(jiff::Span::new().minutes(i64::from(minutes))).ok()?;
    zone.to_ambiguous_timestamp(later).compatible().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computers_are_known_by_their_names() {
        for (user, expected) in [
            ("host/pc1.example.test", Some("pc1.example.test")),
            ("HOST/pc1", Some("pc1")),
            ("EXAMPLE\\PC1$", Some("PC1")),
            ("pc1$@example.test", Some("pc1")),
            ("alice@example.test", None),
            ("hos", None),
            ("host/", None),
            ("$", None),
        ] {
            assert_eq!(machine(user).as_deref(), expected, "{user}");
        }
    }

    #[test]
    fn suites_tell_the_length_of_their_keys() {
        for (suite, bits) in [
            ("AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_384", Some(256)),
            ("AES_GCM_16_128/NO_ESN", Some(128)),
            ("AES_CBC_192/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048", Some(192)),
            ("CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519", Some(256)),
            ("TLSv1_3 TLS_AES_256_GCM_SHA384", Some(256)),
            ("TLSv1_2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Some(128)),
            ("NULL", None),
        ] {
            assert_eq!(cipher_bits(suite), bits, "{suite}");
        }
    }

    #[test]
    fn local_time_follows_the_zone() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        // 2026-11-20 is a Friday; 22:30 UTC is 00:30 on Saturday two hours east.
        let now: jiff::Timestamp = "2026-11-20T22:30:00Z".parse().unwrap();
        assert_eq!(local_time(now, &zone), LocalTime { weekday: 5, minute: 30 });
    }

    #[test]
    fn hours_on_the_wall_survive_the_change_of_clocks() {
        // Central Europe, by the rule itself: no database of zones is needed.
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |now: &str, minutes| on_the_wall(now.parse().unwrap(), minutes, &zone).unwrap().to_string();
        // Seconds of the running minute do not count.
        assert_eq!(at("2026-11-20T10:00:42Z", 30), "2026-11-20T10:30:00Z");
        // In the night to 2026-03-29 the hour from 02:00 is left out: from 01:00 to 04:00 on the wall are two hours.
        assert_eq!(at("2026-03-29T00:00:00Z", 180), "2026-03-29T02:00:00Z");
        // In the night to 2026-10-25 it comes twice: from 01:00 to 04:00 are four.
        assert_eq!(at("2026-10-24T23:00:00Z", 180), "2026-10-25T03:00:00Z");
    }
}
