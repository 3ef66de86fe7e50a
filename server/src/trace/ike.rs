//! IKE messages in words.
use super::{Datagram, Direction, Frame, KeyLine, Layer, Link, NO_KEYS, Told, eap, hexadecimal, withheld};
use ike::proposal::{SaPayload, Transform, transform};
use ike::wire::{
    Configuration, ConfigurationAttribute as Attribute, ConfigurationKind, Delete, Exchange, Header, Identification, Notify, Payload,
    auth_method, identity_text, kind, notify, protocol, vendor,
};
use ike::{Content, Seen, TrafficSelector};
use std::fmt::Display;

/// What is told of a message; `packets`: with its datagrams, which have the non-ESP marker at `nat_port`.
pub fn message(seen: &Seen, packets: bool, nat_port: u16) -> Told {
    let direction = if seen.outbound { Direction::Out } else { Direction::In };
    let header = seen.datagrams.first().and_then(|datagram| Header::parse(datagram).ok());
    let mut told = Told::packet(Layer::Ike, direction, seen.path.remote, title(header.as_ref(), seen));
    if let Some(header) = &header {
        told.field("SPIs", format!("{} {}", header.initiator_spi, header.responder_spi));
    }
    if seen.path.connection.is_some() {
        told.field("over", "TCP");
    }
    match &seen.content {
        Content::Payloads(payloads) => payloads.iter().for_each(|payload| describe(payload, &mut told)),
        Content::Malformed(error) => told.field("malformed", error.clone()),
        Content::Fragment | Content::Repeated | Content::Dropped(_) => {}
    }
    if packets {
        match seen.path.connection {
            None => told.packets = seen.datagrams.iter().map(|datagram| on_the_wire(seen, datagram, nat_port)).collect(),
            Some(_) => told.frames = seen.datagrams.iter().map(|message| in_tcp(seen, direction, message)).collect(),
        }
    }
    if let Some((header, keys)) = header.as_ref().zip(seen.keys.as_deref()) {
        told.keys = KeyLine::new(header, keys);
        if told.keys.is_none() {
            told.field(NO_KEYS, format!("none: its ikev2_decryption_table has no name for {:?}", keys.suite.protection.encryption()));
        }
    }
    told
}

fn on_the_wire(seen: &Seen, datagram: &[u8], nat_port: u16) -> Datagram {
    let (local, remote) = (seen.path.local, seen.path.remote);
    let (from, to) = if seen.outbound { (local, remote) } else { (remote, local) };
    let marker = if local.port() == nat_port { "00000000" } else { "" };
    Datagram { from, to, bytes: format!("{marker}{}", hexadecimal(datagram)) }
}

fn in_tcp(seen: &Seen, direction: Direction, message: &[u8]) -> Frame {
    Frame { link: Link::Ike, client: seen.path.remote, direction, bytes: hexadecimal(message) }
}

fn title(header: Option<&Header>, seen: &Seen) -> String {
    let bytes: usize = seen.datagrams.iter().map(Vec::len).sum();
    let size = match seen.datagrams.len() {
        0 | 1 => format!("{bytes} bytes"),
        fragments => format!("{bytes} bytes in {fragments} fragments"),
    };
    let what = match header {
        Some(header) => {
            let kind = if header.flags.response { "response" } else { "request" };
            format!("{} {kind} {}", exchange(header.exchange), header.message_id)
        }
        None => "a datagram that is no IKEv2".to_owned(),
    };
    match &seen.content {
        Content::Payloads(_) | Content::Malformed(_) => format!("{what} ({size})"),
        Content::Fragment => format!("{what}: a fragment ({size})"),
        Content::Repeated => format!("{what}, the same again ({size})"),
        Content::Dropped(counter) => format!("{what}, dropped: {} ({size})", why(counter)),
    }
}

fn why(counter: &'static str) -> &'static str {
    match counter {
        "malformed" => "malformed",
        "forged" => "it does not verify with the keys of this IKE SA",
        "replayed" => "an old message ID, or one that is being answered",
        "unknown_spi" => "no IKE SA has these SPIs",
        "out_of_window" => "a message ID that is not due yet",
        "half_open_refused" => "too many half-open IKE SAs",
        "unsupported_version" => "not version 2 of IKE",
        other => other,
    }
}

fn exchange(exchange: Exchange) -> String {
    match exchange {
        Exchange::IkeSaInit => "IKE_SA_INIT".into(),
        Exchange::IkeAuth => "IKE_AUTH".into(),
        Exchange::CreateChildSa => "CREATE_CHILD_SA".into(),
        Exchange::Informational => "INFORMATIONAL".into(),
        Exchange::IkeIntermediate => "IKE_INTERMEDIATE".into(),
        Exchange::IkeFollowupKe => "IKE_FOLLOWUP_KE".into(),
        Exchange::Other(number) => format!("exchange {number}"),
    }
}

fn describe(payload: &Payload, told: &mut Told) {
    let name = kind::name(payload.kind());
    let name = name.strip_suffix(" payload").unwrap_or(&name).to_owned();
    let value = match payload {
        Payload::Sa(sa) => return proposals(sa, told),
        Payload::Eap(packet) => eap::describe(packet),
        Payload::KeyExchange(exchange) => format!("{}, {} bytes", group(exchange.group), exchange.public.len()),
        Payload::IdInitiator(id) | Payload::IdResponder(id) => identity(id),
        Payload::Certificate(certificate) => match pki::Certificate::from_der(&certificate.data) {
            Ok(read) => format!("{} issued by {}, {} bytes", read.subject, read.issuer, certificate.data.len()),
            Err(_) => format!("encoding {}, {} bytes", certificate.encoding, certificate.data.len()),
        },
        Payload::CertificateRequest(request) => {
            format!("encoding {}, {} authorities", request.encoding, request.authorities.len() / 20)
        }
        Payload::Auth(auth) => format!("{} ({})", method(auth.method), withheld(auth.data.len())),
        Payload::Nonce(nonce) => format!("{} bytes", nonce.len()),
        Payload::Notify(notify) => notification(notify),
        Payload::Delete(delete) => deleted(delete),
        Payload::Vendor(id) => vendor::name(id).map_or_else(|| hexadecimal(id), str::to_owned),
        Payload::TsInitiator(selectors) | Payload::TsResponder(selectors) => list(selectors),
        Payload::Configuration(configuration) => configured(configuration),
        Payload::Unknown { data, critical, .. } => format!("{}{} bytes", if *critical { "critical, " } else { "" }, data.len()),
    };
    told.field(name, value);
}

fn proposals(sa: &SaPayload, told: &mut Told) {
    for proposal in &sa.proposals {
        let protocol = protocol_name(proposal.protocol);
        let spi = if proposal.spi.is_empty() { String::new() } else { format!(", SPI {}", hexadecimal(&proposal.spi)) };
        told.field("SA", format!("proposal {} of {protocol}{spi}: {proposal}", proposal.number));
    }
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::IKE => "IKE".into(),
        protocol::AH => "AH".into(),
        protocol::ESP => "ESP".into(),
        other => format!("protocol {other}"),
    }
}

fn group(number: u16) -> String {
    Transform::new(transform::DH, number).to_string()
}

fn identity(id: &Identification) -> String {
    let kind = match id.body.first() {
        Some(1) => "ID_IPV4_ADDR",
        Some(2) => "ID_FQDN",
        Some(3) => "ID_RFC822_ADDR",
        Some(5) => "ID_IPV6_ADDR",
        Some(9) => "ID_DER_ASN1_DN",
        Some(11) => "ID_KEY_ID",
        _ => "ID of another type",
    };
    format!("{kind} {}", identity_text(&id.identity, None))
}

fn method(number: u8) -> String {
    match number {
        auth_method::RSA => "RSA signature".into(),
        auth_method::SHARED_KEY => "shared key".into(),
        auth_method::ECDSA_P256 => "ECDSA P-256".into(),
        auth_method::ECDSA_P384 => "ECDSA P-384".into(),
        auth_method::ECDSA_P521 => "ECDSA P-521".into(),
        auth_method::DIGITAL_SIGNATURE => "digital signature".into(),
        other => format!("method {other}"),
    }
}

fn notification(notify: &Notify) -> String {
    let name = notify::name(notify.kind).map_or_else(|| format!("type {}", notify.kind), str::to_owned);
    let spi = if notify.spi.is_empty() { String::new() } else { format!(", SPI {}", hexadecimal(&notify.spi)) };
    let data = match (notify.kind, notify.data.as_slice()) {
        (_, []) => String::new(),
        (notify::INVALID_KE_PAYLOAD, &[high, low]) => format!(": {}", group(u16::from_be_bytes([high, low]))),
        (notify::AUTH_LIFETIME, &[a, b, c, d]) => format!(": {} s", u32::from_be_bytes([a, b, c, d])),
        (notify::MS_WIN32_ERROR, _) => notify.win32_code().map_or_else(String::new, |code| format!(": Windows error {code}")),
        (_, data) => format!(", {} bytes", data.len()),
    };
    format!("{name}{spi}{data}")
}

fn deleted(delete: &Delete) -> String {
    match delete {
        Delete::Ike => "the IKE SA".into(),
        Delete::Esp(spis) => format!("ESP {}", spis.iter().map(|spi| format!("{spi:08x}")).collect::<Vec<_>>().join(", ")),
        Delete::Other { protocol, .. } => protocol_name(*protocol),
    }
}

fn list(selectors: &[TrafficSelector]) -> String {
    selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn configured(configuration: &Configuration) -> String {
    let kind = match configuration.kind {
        ConfigurationKind::Request => "CFG_REQUEST".into(),
        ConfigurationKind::Reply => "CFG_REPLY".into(),
        ConfigurationKind::Set => "CFG_SET".into(),
        ConfigurationKind::Ack => "CFG_ACK".into(),
        ConfigurationKind::Other(number) => format!("CFG type {number}"),
    };
    let attributes: Vec<_> = configuration.attributes.iter().map(attribute).collect();
    format!("{kind}: {}", attributes.join(", "))
}

fn attribute(attribute: &Attribute) -> String {
    fn put(name: &str, value: Option<&impl Display>) -> String {
        value.map_or_else(|| name.to_owned(), |value| format!("{name} {value}"))
    }
    fn net(name: &str, value: Option<&(impl Display, u8)>) -> String {
        value.map_or_else(|| name.to_owned(), |(address, length)| format!("{name} {address}/{length}"))
    }
    match attribute {
        Attribute::Ip4Address(value) => put("INTERNAL_IP4_ADDRESS", value.as_ref()),
        Attribute::Ip4Netmask(value) => put("INTERNAL_IP4_NETMASK", value.as_ref()),
        Attribute::Ip4Dns(value) => put("INTERNAL_IP4_DNS", value.as_ref()),
        Attribute::Ip4Nbns(value) => put("INTERNAL_IP4_NBNS", value.as_ref()),
        Attribute::Ip6Address(value) => net("INTERNAL_IP6_ADDRESS", value.as_ref()),
        Attribute::Ip6Dns(value) => put("INTERNAL_IP6_DNS", value.as_ref()),
        Attribute::Ip4Server(value) => put("INTERNAL_IP4_SERVER", value.as_ref()),
        Attribute::Ip6Server(value) => put("INTERNAL_IP6_SERVER", value.as_ref()),
        Attribute::Ip4Subnet(value) => net("INTERNAL_IP4_SUBNET", value.as_ref()),
        Attribute::Ip6Subnet(value) => net("INTERNAL_IP6_SUBNET", value.as_ref()),
        Attribute::Ip6Prefix(value) => net("INTERNAL_IP6_PREFIX", value.as_ref()),
        Attribute::DnsDomain(name) => put("INTERNAL_DNS_DOMAIN", Some(&String::from_utf8_lossy(name)).filter(|_| !name.is_empty())),
        Attribute::Other { kind, value } if value.is_empty() => format!("attribute {kind}"),
        Attribute::Other { kind, value } => format!("attribute {kind} ({} bytes)", value.len()),
    }
}
