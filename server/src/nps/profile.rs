//! Profiles of NPS: permission, constraints and settings of a policy.
use super::expression::{globs, hours};
use super::{quoted, quoted_list};
use std::net::Ipv4Addr;

#[derive(Debug, Default)]
pub(super) struct Profile {
    /// `None`: the export does not say.
    pub grants: Option<bool>,
    /// Lines of a `[[policy]]`.
    pub lines: Vec<String>,
    pub notes: Vec<String>,
    methods: Vec<u32>,
    eap_types: Vec<u8>,
    port_types: Vec<String>,
    hours: Vec<String>,
    called: Vec<String>,
    /// OIDs (Allowed-Certificate-OID).
    certificate_oids: Vec<String>,
    /// Constraints and settings that cannot be said here.
    lost: Vec<String>,
}

/// What says nothing about VPN clients, or what is so here anyway.
const SILENT: &[&str] = &[
    "Opaque_Data",
    "Template_Guid",
    "IP_Filter_Template_Guid",
    "msRADIUSFramedProtocol",
    "msRASBapLinednLimit",
    "msRASBapLinednTime",
    "msRASBapRequired",
];

/// What lets nobody in, nor anywhere, whom this gateway would keep out without it; with the reason.
const HARMLESS: &[(&str, &str)] = &[
    ("msRASMPPEEncryptionPolicy", "MPPE is of PPTP, and tunnels are always encrypted here"),
    ("msRASMPPEEncryptionType", "MPPE is of PPTP, and tunnels are always encrypted here; min_cipher_bits wants more"),
    ("msEAPConfiguration", "the server that authenticates has its own"),
    ("msRADIUSReplyMessage", "the server that authenticates sends its own"),
    ("msRADIUSClass", "the server that authenticates sends its own"),
    ("msRADIUSFramedCompression", "packets are never compressed here"),
    ("msRADIUSFramedMTU", "the gateway has its own mtu"),
    ("msRADIUSAcctInterimInterval", "[accounting] has its own"),
];

impl Profile {
    pub(super) fn read<'a>(properties: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut profile = Self::default();
        for (name, value) in properties {
            profile.take(name, value);
        }
        profile.finish();
        profile
    }

    fn take(&mut self, name: &str, value: &str) {
        match name {
            "msNPAllowDialin" => self.grants = Some(value == "1"),
            "msNPAuthenticationType2" => self.methods.extend(value.parse::<u32>()),
            "msNPAllowedEapType" => self.eap_types.extend(value.get(..2).and_then(|first| u8::from_str_radix(first, 16).ok())),
            "msNPAllowedPortTypes" => match value.parse::<u32>() {
                Ok(number) => self.port_types.push(number.to_string()),
                Err(_) => self.lose(name, value),
            },
            "msNPTimeOfDay" => match hours(value) {
                Some(windows) => self.hours.extend(windows),
                None => self.lose(name, value),
            },
            "msNPCalledStationId" => match globs(value) {
                Some(globs) => self.called.extend(globs),
                None => self.lose(name, value),
            },
            "msRADIUSSessionTimeout" => self.seconds("session_timeout", name, value),
            "msRADIUSIdleTimeout" => self.seconds("idle_timeout", name, value),
            "msIgnoreUserDialinProperties" if value == "1" => {}
            "msIgnoreUserDialinProperties" => {
                self.notes.push("the dial-in permission of an account goes before it in NPS; here only the policies count".into());
            }
            "msRADIUSServiceType" if value == "2" => {}
            "msRADIUSPortLimit" if value == "1" => {
                let note = "its setting \"Do not allow Multilink connections\" is not written: tunnels have no Multilink; NPS sends it as Port-Limit 1, which ignore_port_limit in [[radius]] keeps from being one session a user";
                self.notes.push(note.into());
            }
            // Of 40, 56 and 128 bits the last alone.
            "msRASMPPEEncryptionType" if value == "4" => self.lines.push("min_cipher_bits = 128".into()),
            "msRADIUSFramedIPAddress" => self.address(name, value),
            name if name.to_ascii_lowercase().ends_with("certificateoid") => self.certificate_oids.push(value.to_owned()),
            name if SILENT.contains(&name) => {}
            name => match HARMLESS.iter().find(|(known, _)| *known == name) {
                Some((_, why)) => self.notes.push(format!("its setting {name} ({}) is not written: {why}", shown(value))),
                None => self.lost.push(format!("its setting {name} ({}) has no equivalent", shown(value))),
            },
        }
    }

    fn lose(&mut self, name: &str, value: &str) {
        self.lost.push(format!("its constraint {name} ({}) has no equivalent", shown(value)));
    }

    fn seconds(&mut self, key: &str, name: &str, value: &str) {
        match value.parse::<u64>() {
            // As NPS, zero is no bound; ours ends at 30 days.
            Ok(0) => {}
            Ok(seconds @ 1..=2_592_000) => self.lines.push(format!("{key} = \"{seconds}s\"")),
            _ => self.lose(name, value),
        }
    }

    /// A signed number of 32 bits; the last two addresses say who chooses (RFC 2865 section 5.8).
    fn address(&mut self, name: &str, value: &str) {
        match value
            .parse::<i64>()
            .ok()
            .and_then(|number| i32::try_from(number).map(i32::cast_unsigned).or_else(|_| u32::try_from(number)).ok())
        {
            Some(0xFFFF_FFFE | 0xFFFF_FFFF) => {}
            Some(number) if policy::pool::unusable(Ipv4Addr::from(number).into()).is_none() => {
                self.lines.push(format!("address = {}", quoted(&Ipv4Addr::from(number).to_string())));
            }
            _ => self.lose(name, value),
        }
    }

    fn finish(&mut self) {
        let methods = self.allowed();
        let lists = [("allowed_methods", &methods), ("allowed_called_station_id", &self.called), ("allowed_hours", &self.hours)];
        for (key, entries) in lists {
            if !entries.is_empty() {
                self.lines.push(format!("{key} = {}", quoted_list(entries)));
            }
        }
        match &self.certificate_oids[..] {
            [] => {}
            [oid] if pki::purpose_oid(oid).is_some() => {
                self.lines.push(format!("certificate_eku = {}", quoted_list(std::slice::from_ref(oid))));
                self.notes.push("its setting Allowed-Certificate-OID is written as the condition certificate_eku: whoever has another certificate is judged by the policies after it".into());
            }
            oids => self.lost.push(format!("its setting Allowed-Certificate-OID ({}) has no equivalent", shown(&oids.join(" ")))),
        }
        if !self.port_types.is_empty() {
            self.lines.push(format!("allowed_port_type = [{}]", self.port_types.join(", ")));
        }
    }

    /// How clients may prove themselves, as far as it exists here.
    fn allowed(&mut self) -> Vec<String> {
        let mut allowed = Vec::new();
        for method in std::mem::take(&mut self.methods) {
            match method {
                1 => allowed.push("pap".to_owned()),
                2 => allowed.push("chap".to_owned()),
                4 => allowed.push("mschapv2".to_owned()),
                5 if self.eap_types.is_empty() => allowed.push("eap".to_owned()),
                5 => allowed.extend(self.eap_types.iter().map(|&number| crate::config::eap_name(&number.to_string()).unwrap_or_default())),
                // MS-CHAP, and changes of passwords: neither exists here.
                3 | 9 | 10 => {}
                7 => self.notes.push("it lets clients in that do not authenticate; here nobody comes in so".into()),
                other => self.notes.push(format!("its authentication type {other} does not exist here")),
            }
        }
        if allowed.is_empty() {
            self.lost.push("it allows no authentication method that exists here".into());
        }
        allowed
    }

    /// Why a policy that grants must not be used as it is.
    pub(super) fn unusable(&self) -> &[String] {
        &self.lost
    }
}

/// The beginning of a value.
fn shown(value: &str) -> String {
    quoted(&value.chars().take(80).collect::<String>())
}
