use super::*;
use crate::config::Config;
use std::os::unix::fs::PermissionsExt as _;

/// A dump in the words of netsh: a pool, RADIUS with accounting elsewhere, all tunnels on.
const DUMP: &str = r#"# ----------------------------------
# RAS Configuration
# ----------------------------------
pushd ras

set authmode mode = standard
delete authtype type = PAP
delete authtype type = MD5CHAP
delete authtype type = MSCHAPv2
delete authtype type = EAP
delete authtype type = CERT
add authtype type = MSCHAPv2
add authtype type = EAP
add authtype type = CERT
delete link type = SWC
add link type = SWC
delete multilink type = MULTI
add multilink type = MULTI
set conf confstate = enabled
set type ipv4rtrtype = lananddd ipv6rtrtype = none rastype = ipv4
set wanports device = "WAN Miniport (SSTP)" rasinonly = enabled ddinout = disabled ddoutonly = disabled maxports = 100
set wanports device = "WAN Miniport (IKEv2)" rasinonly = enabled ddinout = enabled ddoutonly = disabled maxports = 200
set wanports device = "WAN Miniport (PPTP)" rasinonly = enabled ddinout = enabled ddoutonly = disabled maxports = 5
set wanports device = "WAN Miniport (L2TP)" rasinonly = disabled ddinout = disabled ddoutonly = disabled maxports = 128
set wanports device = "WAN Miniport (PPPOE)" ddoutonly = enabled

set user name = Administrator dialin = policy cbpolicy = none
set ikev2connection idletimeout = 30 nwoutagetime = 30
set ikev2saexpiry saexpirytime = 480 sadatasizelimit = 32767
popd

pushd ras diagnostics
set rastracing component = * state = disabled
popd

pushd ras ip
delete pool
set negotiation mode = allow
set access mode = all
set addrreq mode = deny
set broadcastnameresolution mode = enabled
set addrassign method = pool
add range from = 10.98.0.1 to = 10.98.0.254
add range from = 10.98.2.1 to = 10.98.2.100
set preferredadapter name = "Corporate LAN"
popd

pushd ras ipv6
set negotiation mode = deny
set prefix prefix = ::
popd

pushd ras aaaa
set authentication provider = radius
set accounting provider = radius
delete authserver name = *
delete acctserver name = *
add authserver name = nps2.corp.example.com secret = "do not show" init-score = 20 port = 1645 timeout = 5 signature = disabled
add authserver name = 10.0.0.4 secret = "do not show" init-score = 30 port = 1812 timeout = 5 signature = enabled
add acctserver name = 10.0.0.4 secret = "do not show" init-score = 30 port = 1813 timeout = 5 messages = enabled
set ipsecpolicy psk = enabled secret = "do not show"
popd
"#;

/// Get-RemoteAccess, Get-VpnAuthProtocol, Get-VpnServerConfiguration and Get-RemoteAccessRadius as a console shows them.
const CONSOLE: &str = r"

DAStatus                       : Uninstalled
VpnStatus                      : Installed
VpnS2SStatus                   : Installed
LoadBalancing                  : NotConfigured
InternetInterface              : Internet
SslCertificate                 : [Subject]
                                   CN=vpn.example.com, O=Example

                                 [Issuer]
                                   CN=Example Issuing CA

                                 [Thumbprint]
                                   0102030405060708090A0B0C0D0E0F1011121314

IPAssignmentMethod             : StaticPool
IPAddressRangeList             : {10.98.0.1 - 10.98.0.254, 10.98.2.1 - 10.98.2.100}
IPv6Prefix                     : fd98:0:0:1::/64
AuthenticationType             : ExternalRadius
RadiusServerList               : {10.0.0.4}

UserAuthProtocolAccepted      : {EAP, Certificate}
TunnelAuthProtocolsAdvertised : Certificates
RootCertificateNameToAccept   : [Subject]
                                  CN=Example Root CA

CertificateEKUsToAccept       : {1.3.6.1.5.5.7.3.2}
CertificateAdvertised         :

AuthenticationTransformConstants : GCMAES128
CipherTransformConstants         : GCMAES128
CustomPolicy                     : True
DHGroup                          : Group14
EncryptionMethod                 : AES256
IntegrityCheckMethod             : SHA256
PfsGroup                         : ECP256
IdleDisconnect(s)                : 300
Ikev2Ports                       : 200
L2tpPorts                        : 0
GrePorts                         : 0
SstpPorts                        : 100
SADataSizeForRenegotiation(KB)   : 1024000
SALifeTime(s)                    : 28800
MMSALifeTime(s)                  : 86400

ServerName      Purpose         Score   Timeout(s)  Port    AccountingOnOffMsg MsgAuthenticator
----------      -------         -----   ----------  ----    ------------------ ----------------
10.0.0.4        Accounting       30       5         1813    Enabled
10.0.0.4        Authentication   30       5         1812                       Enabled
";

fn of(text: &str) -> Migrated {
    migrate(&[("rras.txt", text.as_bytes())], &Options::default()).unwrap()
}

/// The configuration as the gateway reads it, with `fill` in place of what only the administrator knows.
fn load(toml: &str, fill: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["vpn.example.com".into()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    for name in ["vpn.pem", "ca-Example-Root-CA.pem", "ca.pem"] {
        write(name, &pem);
    }
    write("vpn.key", &key.serialize_pem());
    for name in ["nps", "radius-10.0.0.4", "localhost", "nps2.corp.example.com"] {
        write(&format!("{name}.secret"), "a secret of good length");
    }
    let mut text = toml.replace("/etc/evergate/", "");
    for (from, to) in fill {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replace(from, to);
    }
    write("evergate.toml", &text);
    Config::load(&folder.path().join("evergate.toml"), &[]).map_err(|error| error.to_string())
}

#[test]
fn a_dump_becomes_a_configuration() {
    let migrated = of(DUMP);
    let expected = r#"[server]
name = "FILL IN: server.name: what clients dial, such as vpn.example.com"
max_sessions = 300                       # RRAS had as many ports for IKEv2 and SSTP together

[[certificate]]
name = "vpn"
chain = "/etc/evergate/vpn.pem"
key = "/etc/evergate/vpn.key"

[[listener]]
name = "ikev2"
protocol = "ikev2"
certificates = ["vpn"]
auth = ["eap", "certificate"]
client_ca = ["FILL IN: client_ca: PEM files of the authorities whose client certificates are accepted"]
"#;
    assert!(migrated.toml.starts_with(expected), "{}", migrated.toml);
    for part in [
        "name = \"sstp\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\nauth = [\"eap\", \"mschapv2\"]\n",
        // The higher score first.
        "[[radius]]\nname = \"radius-10.0.0.4\"\naddress = \"10.0.0.4\"\nsecret_file = \"/etc/evergate/radius-10.0.0.4.secret\"\n\n\
         [[radius]]\nname = \"nps2.corp.example.com\"\naddress = \"nps2.corp.example.com\"\nsecret_file = \"/etc/evergate/nps2.corp.example.com.secret\"\n\
         port = 1645\naccounting_port = 0\n",
        "[[radius_group]]\nname = \"accounting\"\nservers = [\"radius-10.0.0.4\"]\n",
        "[accounting]\non_off = true\n",
        "ipv4 = [\"10.98.0.1-10.98.0.254\", \"10.98.2.1-10.98.2.100\"]\n\n",
        "[timers]\nnetwork_outage = \"30m\"\nchild_rekey = \"8h\"\nchild_volume_mb = 32767\n",
    ] {
        assert!(migrated.toml.contains(part), "{part} is not in {}", migrated.toml);
    }
    assert_eq!(migrated.toml.matches("idle_timeout = \"30m\"").count(), 2, "of IKEv2, for machines and users: {}", migrated.toml);
    for note in
        ["PPTP", "site-to-site", "the preshared key of L2TP", "nps2.corp.example.com\" without Message-Authenticator", "preferred adapter"]
    {
        assert!(migrated.notes.iter().any(|known| known.contains(note)), "{note} is not in {:#?}", migrated.notes);
    }
    assert!(!migrated.notes.iter().any(|note| note.contains("L2TP, which is on")), "its ports are disabled: {:#?}", migrated.notes);
    assert!(!format!("{migrated:?}").contains("do not show"), "{migrated:?}");
    assert!(load(&migrated.toml, &[]).unwrap_err().contains("FILL IN"));
    let fill = [
        ("FILL IN: server.name: what clients dial, such as vpn.example.com", "vpn.example.com"),
        ("FILL IN: client_ca: PEM files of the authorities whose client certificates are accepted", "ca.pem"),
        // Nobody is there to ask for it.
        ("address = \"nps2.corp.example.com\"", "address = \"10.0.0.5\""),
    ];
    let config = load(&migrated.toml, &fill).unwrap();
    assert_eq!((config.radius.len(), config.radius_groups.len(), config.server.max_sessions), (2, 2, 300));
    assert_eq!(config.policies.len(), 3);
}

/// The same lines as somebody may have typed them.
#[test]
fn commands_are_read_as_they_are_typed() {
    let typed = "netsh ras add authtype EAP\nNETSH.EXE ras ip set addrassign pool\nras ip add range 10.1.0.1 10.1.0.9\n\
                 netsh ras ip set access mode = serveronly\nnetsh interface show\nnetsh ras add registeredserver";
    let migrated = of(typed);
    assert!(migrated.toml.contains("ipv4 = [\"10.1.0.1-10.1.0.9\"]"), "{}", migrated.toml);
    assert!(migrated.notes.iter().any(|note| note.contains("netsh interface")), "{:?}", migrated.notes);
    // Whom RRAS lets no further than the server is let nowhere before somebody says where.
    assert!(migrated.toml.contains("selectors = [\"FILL IN"), "{}", migrated.toml);
}

#[test]
fn what_a_console_shows_becomes_a_configuration() {
    let migrated = of(CONSOLE);
    for part in [
        "name = \"vpn.example.com\"\nmax_sessions = 300",
        "client_ca = [\"/etc/evergate/ca-Example-Root-CA.pem\"]\nclient_eku = [\"1.3.6.1.5.5.7.3.2\"]\n",
        "auth = [\"eap\"]\n\n[[radius]]\nname = \"radius-10.0.0.4\"\n",
        "ipv4 = [\"10.98.0.1-10.98.0.254\", \"10.98.2.1-10.98.2.100\"]\nipv6 = [\"fd98:0:0:1::/64\"]\n",
        "[ciphers]\nike = [\"aes256-sha256\"]\nprfs = [\"sha256\"]\ngroups = [\"modp2048\"]\nesp = [\"aes128-gcm\"]\npfs = [\"ecp256\"]\n",
        "[accounting]\non_off = true\n",
        "\nchild_volume_mb = 1000\n",
    ] {
        assert!(migrated.toml.contains(part), "{part} is not in {}", migrated.toml);
    }
    assert!(!migrated.toml.contains("radius_group") && !migrated.toml.contains("FILL IN"), "{}", migrated.toml);
    for note in ["site-to-site VPN", "lifetime of IKE SAs (1d)"] {
        assert!(migrated.notes.iter().any(|known| known.contains(note)), "{note} is not in {:#?}", migrated.notes);
    }
    let config = load(&migrated.toml, &[]).unwrap();
    assert_eq!(config.ciphers.ike.len(), 1);
    assert!(config.ikev2.unwrap().auth.certificate);
}

/// Out of a file each, in the forms that programs read.
#[test]
fn json_and_clixml_say_the_same() {
    let json = r#"{"DAStatus":"Uninstalled","VpnStatus":"Installed","SslCertificate":{"Subject":"CN=vpn.example.com","Thumbprint":"01"},
        "VpnConfiguration":{"IPAssignmentMethod":"StaticPool","IPAddressRangeList":{"value":["10.98.0.1 - 10.98.0.254"],"Count":1},
        "AuthenticationType":"ExternalRadius","RadiusServerList":[{"ServerName":"10.0.0.4","Purpose":"Authentication","Score":30,"Port":1812,
        "SharedSecret":"do not show","MsgAuthenticator":"Enabled"}]},"CimClass":{"CimClassName":"RemoteAccessVpn","IPv6Prefix":"fd00::/64"}}"#;
    let clixml = r#"<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj RefId="0"><TN RefId="0"><T>x</T></TN>
        <ToString>VpnAuthProtocol</ToString><Props><Obj N="UserAuthProtocolAccepted" RefId="1"><LST><S>EAP</S><S>MsChapv2</S></LST></Obj>
        <S N="TunnelAuthProtocolsAdvertised">Certificates</S><Nil N="RootCertificateNameToAccept" /></Props></Obj>
        <Obj RefId="2"><Props><U32 N="Ikev2Ports">0</U32><U32 N="SstpPorts">128</U32><Obj N="EncryptionMethod" RefId="3"><ToString>AES256</ToString>
        <I32>4</I32></Obj></Props></Obj></Objs>"#;
    let wide: Vec<u8> = [0xFF, 0xFE].into_iter().chain(clixml.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let migrated = migrate(&[("a.json", json.as_bytes()), ("b.xml", &wide)], &Options::default()).unwrap();
    for part in [
        "name = \"vpn.example.com\"",
        "max_sessions = 128",
        "auth = [\"eap\", \"mschapv2\"]",
        "ipv4 = [\"10.98.0.1-10.98.0.254\"]",
        "address = \"10.0.0.4\"",
    ] {
        assert!(migrated.toml.contains(part), "{part} is not in {}", migrated.toml);
    }
    assert!(!migrated.toml.contains("protocol = \"ikev2\"") && !migrated.toml.contains("ipv6"), "{}", migrated.toml);
    assert!(!format!("{migrated:?}").contains("do not show"));
    // A part of a policy is none.
    assert!(migrated.notes.iter().any(|note| note.contains("IntegrityCheckMethod is not said")), "{:#?}", migrated.notes);
    assert!(!migrated.toml.contains("[ciphers]"), "{}", migrated.toml);
    load(&migrated.toml, &[]).unwrap();
}

/// The least that can be known: everything else is asked for, and nobody is let in by a guess.
#[test]
fn windows_authentication_and_dhcp_are_asked_for() {
    let migrated = of("UserAuthProtocolAccepted : {EAP}\nIPAssignmentMethod : Dhcp\nAuthenticationType : Windows\n");
    for part in ["address = \"FILL IN: address of an NPS", "ipv4 = [\"FILL IN: ipv4"] {
        assert!(migrated.toml.contains(part), "{part} is not in {}", migrated.toml);
    }
    for note in ["addresses for clients from DHCP", "RRAS asks Windows itself", "do not say which tunnels are on"] {
        assert!(migrated.notes.iter().any(|known| known.contains(note)), "{note} is not in {:#?}", migrated.notes);
    }
    let fill = [
        ("FILL IN: server.name: what clients dial, such as vpn.example.com", "vpn.example.com"),
        ("FILL IN: address of an NPS or another RADIUS server", "10.0.0.4"),
        ("FILL IN: ipv4: addresses for clients, such as 10.98.0.10-10.98.0.250", "10.98.0.10-10.98.0.250"),
    ];
    // Each of them has to be there.
    for left in 0..fill.len() {
        let mut some = fill.to_vec();
        some.remove(left);
        assert!(load(&migrated.toml, &some).unwrap_err().contains("FILL IN"));
    }
    load(&migrated.toml, &fill).unwrap();
}

#[test]
fn weak_and_unknown_ciphers_are_named_and_not_written() {
    let policy = |dh: &str, encryption: &str| {
        of(&format!(
            "EncryptionMethod : {encryption}\nIntegrityCheckMethod : SHA1\nDHGroup : {dh}\nCipherTransformConstants : AES256\n\
             AuthenticationTransformConstants : SHA196\nPfsGroup : None\n"
        ))
    };
    for (migrated, what) in [
        (policy("Group2", "AES256"), "ike = [aes256-sha1] is too weak"),
        (policy("Group24", "AES256"), "DHGroup Group24"),
        (policy("Group14", "DES3"), "EncryptionMethod DES3"),
        (policy("Group14", "4"), "EncryptionMethod 4"),
    ] {
        assert!(!migrated.toml.contains("[ciphers]"), "{}", migrated.toml);
        assert!(migrated.notes.iter().any(|note| note.contains(what)), "{what} is not in {:#?}", migrated.notes);
    }
}

#[test]
fn policies_of_nps_take_the_place_of_ours() {
    let policies = "[[policy]]\nname = \"staff\"\nuser = [\"*@example.com\"]\n# pool = \"..\"                             # where its addresses come from\n\n";
    let options = Options { name: Some("vpn.example.com"), policies: Some(policies) };
    let migrated = migrate(&[("console.txt", CONSOLE.as_bytes())], &options).unwrap();
    assert!(migrated.toml.contains("[[policy]]\nname = \"staff\"\nuser = [\"*@example.com\"]\npool = \"clients\"\n"), "{}", migrated.toml);
    assert!(migrated.toml.contains("machines over IKEv2") && !migrated.toml.contains("users over"), "{}", migrated.toml);
    assert_eq!(load(&migrated.toml, &[]).unwrap().policies.len(), 2);
}

#[test]
fn what_is_cut_short_or_no_dump_is_said() {
    let cut = of("IPAddressRangeList : {10.0.0.1 - 10.0.0.2, 10.0.1.1 - 10.0.1.2...}\n");
    assert!(cut.notes.iter().any(|note| note.contains("$FormatEnumerationLimit")), "{:?}", cut.notes);
    let broken = of(
        "IPAddressRangeList : {10.0.0.1 - 10.0.0.2, 10.0.1.1 -\n                     10.0.1.2, 10.0.2.1 - 10.0.2.2}\nVpnStatus : Installed\n",
    );
    assert!(broken.toml.contains("ipv4 = [\"10.0.0.1-10.0.0.2\", \"10.0.1.1-10.0.1.2\", \"10.0.2.1-10.0.2.2\"]"), "{}", broken.toml);
    let odd = of("IPAddressRangeList : {10.0.0.9 - 10.0.0.2, nonsense}\nUserAuthProtocolAccepted : {EAP, Kerberos}\n");
    for note in ["\"10.0.0.9-10.0.0.2\"", "nonsense", "kerberos"] {
        assert!(odd.notes.iter().any(|known| known.contains(note)), "{note} is not in {:?}", odd.notes);
    }
    for (text, problem) in [
        ("", "x.txt is empty"),
        ("hello\nName : value\n", "x.txt holds nothing of RRAS"),
        ("{\"a\":", "x.txt is no JSON"),
        ("<a><b></a>", "x.txt is no XML"),
        ("<Root/>", "x.txt is XML, but not as Export-Clixml writes it"),
    ] {
        let error = migrate(&[("x.txt", text.as_bytes())], &Options::default()).unwrap_err();
        assert!(error.starts_with(problem), "{error}");
    }
    // A console's code page.
    for bytes in [&[0xFF, 0xFE, 0x00, 0xD8][..], b"pushd ras\nset user name = J\x94rg\n"] {
        let error = migrate(&[("x", bytes)], &Options::default()).unwrap_err();
        assert!(error.starts_with("x is neither UTF-8 nor UTF-16: ") && error.contains("Out-File -Encoding utf8"), "{error}");
    }
}

/// Whatever is damaged, it is read or refused, and never a secret shown.
#[test]
fn damaged_files_do_no_harm() {
    for text in [DUMP, CONSOLE] {
        for at in (0..text.len()).step_by(11).filter(|at| text.is_char_boundary(*at)) {
            let odd = ["\"", "=", "\n", ":", "{", "-", " "][at % 7];
            let damaged = format!("{}{odd}{}", &text[..at], &text[at + 1..]);
            if let Ok(migrated) = migrate(&[("x", damaged.as_bytes())], &Options::default()) {
                toml::from_str::<toml::Table>(&migrated.toml).unwrap();
            }
        }
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    assert!(migrate(&[("x", deep.as_bytes())], &Options::default()).is_err());
    for (open, close) in [
        ("<Obj><LST>", "</LST></Obj>"),
        ("<Obj N=\"a\"><Props>", "</Props></Obj>"),
        ("<Obj><Props><Obj N=\"a\"><LST>", "</LST></Obj></Props></Obj>"),
    ] {
        let nested = |depth: usize| {
            let text = format!("<Objs>{}<I32 N=\"SstpPorts\">5</I32>{}</Objs>", open.repeat(depth), close.repeat(depth));
            migrate(&[("x", text.as_bytes())], &Options::default())
        };
        assert!(nested(10_000).unwrap_err().starts_with("x has objects inside objects 16 times over"), "{open}");
        assert!(!nested(5).is_err_and(|error| error.contains("objects inside")), "{open}");
    }
}

/// What NPS grants says nothing of where RRAS ends: nobody is let further than the server by a guess.
#[test]
fn policies_of_nps_reach_no_further_than_rras_does() {
    let policy = |name: &str, grants: u8| {
        (
            format!("<{name} name=\"{name}\"><Properties><msNPSequence>1</msNPSequence></Properties></{name}>"),
            format!(
                "<{name} name=\"{name}\"><Properties><msNPAllowDialin>{grants}</msNPAllowDialin><msNPAuthenticationType2>5</msNPAuthenticationType2>\
                 </Properties></{name}>"
            ),
        )
    };
    let [staff, guests, others] = [policy("staff", 1), policy("guests", 1), policy("others", 0)];
    let export = format!(
        "<Root><Children><Microsoft_Internet_Authentication_Service><Children><RadiusProfiles><Children>{}{}{}</Children></RadiusProfiles>\
         <NetworkPolicy><Children>{}{}{}</Children></NetworkPolicy></Children></Microsoft_Internet_Authentication_Service></Children></Root>",
        staff.1, guests.1, others.1, staff.0, guests.0, others.0
    );
    let imported = crate::nps::import_policies(export.as_bytes()).unwrap();
    let options = Options { name: Some("vpn.example.com"), policies: Some(&imported.toml) };
    let of = |access: &str| {
        let text = format!("{CONSOLE}\nnetsh ras ip set access mode = {access}\n");
        migrate(&[("x", text.as_bytes())], &options).unwrap()
    };
    let bound = of("serveronly");
    for section in bound.toml.split("\n[[").filter(|section| section.starts_with("policy]]")) {
        let denies = section.contains("grant = false");
        assert_eq!(section.contains("selectors = [\"FILL IN: "), !denies, "{section}");
    }
    // The machines' own, and two that grant.
    assert_eq!(bound.to_fill.iter().filter(|what| what.starts_with("selectors: ")).count(), 3, "{:?}", bound.to_fill);
    let reach = "FILL IN: selectors: what clients may reach; with RRAS it is the server alone";
    assert!(load(&bound.toml, &[]).unwrap_err().contains("FILL IN"));
    assert_eq!(load(&bound.toml, &[(reach, "10.98.0.1/32")]).unwrap().policies.len(), 4);
    assert!(!of("all").toml.contains("selectors"));
}

#[test]
fn an_export_of_nps_is_enough_to_begin_with() {
    let options = Options { name: Some("vpn.example.com"), policies: Some("[[policy]]\nname = \"staff\"\n# pool = \"..\"\n") };
    let migrated = migrate(&[], &options).unwrap();
    assert!(migrated.toml.contains("name = \"staff\"\npool = \"clients\"\n"), "{}", migrated.toml);
    assert!(load(&migrated.toml, &[]).unwrap_err().contains("FILL IN"));
    assert!(migrate(&[], &Options::default()).is_err());
    assert!(migrate(&[("x", b"hello")], &options).is_err(), "a file that is given has to say something");
}

#[test]
fn what_is_taken_away_is_gone() {
    let migrated = of("netsh ras add authtype type = EAP\nnetsh ras add authtype type = PAP\nnetsh ras delete authtype type = PAP\n\
                       netsh ras aaaa add authserver name = 10.0.0.4\nnetsh ras aaaa add acctserver name = 10.0.0.4\n\
                       netsh ras aaaa add authserver name = 10.0.0.5\nnetsh ras aaaa delete authserver name = 10.0.0.5\n\
                       netsh ras ip set addrassign method = pool\nnetsh ras ip add range from = 10.1.0.1 to = 10.1.0.9\n\
                       netsh ras ip add range from = 10.2.0.1 to = 10.2.0.9\nnetsh ras ip delete range from = 10.1.0.1 to = 10.1.0.9\n");
    assert!(!migrated.toml.contains("pap") && !migrated.toml.contains("address = \"10.0.0.5\""), "{}", migrated.toml);
    assert!(
        migrated.toml.contains("address = \"10.0.0.4\"") && migrated.toml.contains("ipv4 = [\"10.2.0.1-10.2.0.9\"]"),
        "{}",
        migrated.toml
    );
    let none = of("netsh ras aaaa add authserver name = 10.0.0.4\nnetsh ras aaaa delete authserver name = *\n");
    assert!(none.toml.contains("address = \"FILL IN"), "{}", none.toml);
}

/// In whichever order they come.
#[test]
fn files_that_differ_are_named_and_open_nothing() {
    let dump = ("dump.txt", &b"netsh ras delete authtype type = EAP\nras add authtype type = EAP\nras add authtype type = PAP\nras aaaa add authserver name = 10.0.0.4\n"[..]);
    let shown = ("auth.txt", &b"UserAuthProtocolAccepted : {EAP, MsChapv2}\n"[..]);
    let radius = ("radius.txt", &br#"{"ServerName": "10.0.0.5", "Purpose": "Authentication"}"#[..]);
    for files in [[dump, shown, radius], [radius, shown, dump]] {
        let migrated = migrate(&files, &Options::default()).unwrap();
        assert!(migrated.toml.contains("protocol = \"sstp\"\ncertificates = [\"vpn\"]\nauth = [\"eap\"]\n"), "{}", migrated.toml);
        for what in ["differ in how clients log in", "differ in which RADIUS servers"] {
            let note = migrated.notes.iter().find(|note| note.contains(what)).unwrap();
            assert!(note.contains("dump.txt") && (note.contains("auth.txt") || note.contains("radius.txt")), "{note}");
        }
    }
    // A line that takes away is no contradiction.
    let less = ("less.txt", &b"netsh ras delete authtype type = PAP\n"[..]);
    let migrated = migrate(&[dump, less], &Options::default()).unwrap();
    assert!(!migrated.toml.contains("pap") && !migrated.notes.iter().any(|note| note.contains("differ")), "{migrated:?}");
    let alike = migrate(&[shown, shown], &Options::default()).unwrap();
    assert!(alike.toml.contains("mschapv2") && !alike.notes.iter().any(|note| note.contains("differ")), "{alike:?}");
}

#[test]
fn ports_for_sites_alone_are_none_for_clients() {
    let of = |ports: &str| of(&format!("netsh ras set wanports device = \"WAN Miniport (IKEv2)\" {ports} maxports = 9\nSstpPorts : 5\n"));
    for (ports, listens, told) in [
        ("rasinonly = disabled ddinout = enabled", false, true),
        ("ddinout = enabled", false, true),
        ("rasinonly = disabled ddinout = disabled", false, false),
        ("rasinonly = enabled ddinout = enabled", true, false),
        ("rasinonly = enabled", true, false),
        ("", true, false),
    ] {
        let migrated = of(ports);
        assert_eq!(migrated.toml.contains("protocol = \"ikev2\""), listens, "{ports}: {}", migrated.toml);
        assert_eq!(migrated.notes.iter().any(|note| note.contains("between sites alone")), told, "{ports}: {:?}", migrated.notes);
    }
}

/// The files of authorities cannot be those of the gateway's own certificate.
#[test]
fn an_authority_has_a_file_of_its_own() {
    let migrated = of("UserAuthProtocolAccepted : {Certificate}\nRootCertificateNameToAccept : CN=vpn\n");
    assert!(migrated.toml.contains("client_ca = [\"/etc/evergate/ca-vpn.pem\"]"), "{}", migrated.toml);
    for what in ["vpn.pem vpn.key", "nps.secret"] {
        let told = migrated.to_fill.iter().any(|line| line.contains(&format!("install -m 640 -g evergate {what} /etc/evergate/")));
        assert!(told, "{what}: {:?}", migrated.to_fill);
    }
}
