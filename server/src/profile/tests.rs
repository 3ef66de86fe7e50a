//! Whole profiles of whole configurations.
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

const HEAD: &str = r#"[server]
name = "vpn.example.test"

[[certificate]]
name = "vpn"
chain = "vpn.pem"
key = "vpn.key"

[[pool]]
name = "users"
ipv4 = ["10.98.0.10-10.98.0.250"]
"#;
const IKEV2: &str = "\n[[listener]]\nname = \"ikev2\"\nprotocol = \"ikev2\"\ncertificates = [\"vpn\"]\n";
const SSTP: &str = "\n[[listener]]\nname = \"sstp\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\n";
const MACHINES: &str = "auth = [\"eap\", \"certificate\"]\nclient_ca = [\"ca.pem\"]\n";
const USERS: &str = "auth = [\"eap\"]\n";
const RADIUS: &str = "\n[[radius]]\nname = \"nps1\"\naddress = \"10.0.0.4\"\nsecret_file = \"nps1.secret\"\n";
const EVERYONE: &str = "\n[[policy]]\nname = \"everyone\"\npool = \"users\"\n";
const SPLIT: &str =
    "dns = [\"10.0.0.53\"]\nsuffix = \"corp.example.test\"\nroutes = [\"10.0.0.0/8\", \"192.0.2.1-192.0.2.2\", \"2001:db8::/32\"]\n";

/// A tenant's certificate of an authority of its own, and one more of the gateway's own authority and name.
const MORE: &str = "\n[[certificate]]\nname = \"tenant\"\nchain = \"tenant.pem\"\nkey = \"tenant.key\"\n\
                    names = [\"vpn.tenant.test\"]\n\
                    \n[[certificate]]\nname = \"machines\"\nchain = \"machines.pem\"\nkey = \"machines.key\"\n";

struct Fixture {
    folder: TempDir,
    root: Certificate,
    /// Above the tenant's certificate.
    other_root: Certificate,
}

/// What signs, with its certificate as PEM.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.0.pem().as_bytes()).unwrap().remove(0)
    }

    /// A server's certificate and its key.
    fn server(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = params_for(name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

impl Fixture {
    fn new(parts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, other) = (Authority::new("Test Root"), Authority::new("Tenant Root"));
        let fixture = Self { folder, root: root.certificate(), other_root: other.certificate() };
        let (vpn, tenant, machines) = (root.server("vpn.example.test"), other.server("*.tenant.test"), root.server("vpn.example.test"));
        let files = [
            ("evergate.toml", [&[HEAD], parts].concat().concat()),
            ("ca.pem", root.0.pem()),
            ("vpn.pem", vpn.0),
            ("vpn.key", vpn.1),
            ("tenant.pem", tenant.0 + &other.0.pem()),
            ("tenant.key", tenant.1),
            ("machines.pem", machines.0),
            ("machines.key", machines.1),
            ("nps1.secret", "a secret of good length\n".into()),
            ("users", "ann nt=8846f7eaee8fb117ad06bdd830b7586c\n".into()),
        ];
        for (name, text) in files {
            let path = fixture.folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fixture
    }

    fn config(&self) -> Config {
        Config::load(&self.folder.path().join("evergate.toml"), &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn wishes(&self) -> Wishes {
        Wishes { authorities: vec![self.root.clone()], ..Wishes::default() }
    }

    fn made(&self, kind: Kind, wishes: &Wishes) -> Result<Made, String> {
        make(&self.config(), kind, wishes, jiff::Timestamp::now().as_second())
    }

    fn file(&self, kind: Kind, wishes: &Wishes, name: &str) -> String {
        let made = self.made(kind, wishes).unwrap_or_else(|error| panic!("{error}"));
        let file = made.files.iter().find(|file| file.name == name).unwrap_or_else(|| panic!("no {name}: {made:?}"));
        file.text.to_string()
    }
}

fn params(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

fn params_for(name: &str) -> rcgen::CertificateParams {
    let mut params = params(name);
    params.subject_alt_names = vec![rcgen::SanType::DnsName(name.try_into().unwrap())];
    params
}

/// A user's tunnel that splits, and a machine's.
fn split() -> Fixture {
    Fixture::new(&[IKEV2, MACHINES, SSTP, RADIUS, EVERYONE, SPLIT])
}

#[test]
fn ciphers_are_those_of_the_gateway() {
    let chosen = "\n[ciphers]\nike = [\"chacha20-poly1305\", \"aes256-sha384\"]\nprfs = [\"sha512\", \"sha384\"]\ngroups = [\"curve25519\", \"modp2048\"]\nesp = [\"aes128-sha256\"]\npfs = [\"ecp521\"]\n";
    let fixture = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, chosen]);
    let profile = fixture.file(Kind::Windows, &fixture.wishes(), "profile.xml");
    for element in [
        "<AuthenticationTransformConstants>SHA256128<",
        "<CipherTransformConstants>AES128<",
        "<DHGroup>Group14<",
        "<IntegrityCheckMethod>SHA384<",
        "<EncryptionMethod>AES256<",
    ] {
        assert!(profile.contains(element), "{element}\n{profile}");
    }
    assert!(!profile.contains("PfsGroup"), "Windows can do none: {profile}");
    let script = fixture.file(Kind::Windows, &fixture.wishes(), "windows.ps1");
    assert!(script.contains("-EncryptionMethod AES256 -IntegrityCheckMethod SHA384 -DHGroup Group14 -PfsGroup None -Force"), "{script}");
    let swanctl = fixture.file(Kind::StrongSwan, &fixture.wishes(), "swanctl.conf");
    for line in [
        "proposals = chacha20poly1305-prfsha384-prfsha512-modp2048-x25519, aes256-sha384-prfsha384-prfsha512-modp2048-x25519\n",
        "esp_proposals = aes128-sha256-ecp521\n",
    ] {
        assert!(swanctl.contains(line), "{line}\n{swanctl}");
    }
    let chosen = chosen.replace("\"aes256-sha384\"", "\"aes256-sha512\"");
    let error = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, &chosen]).made(Kind::Windows, &Wishes::default()).unwrap_err();
    assert!(error.contains("nothing that Windows can do"), "{error}");
}

/// By a grammar of the language, and cmdlet by cmdlet.
#[test]
fn scripts_are_powershell() {
    let (whole, split) = (Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]), split());
    let machines = Fixture::new(&[IKEV2, MACHINES, RADIUS, EVERYONE, SPLIT]);
    let device = Wishes { device: true, ..machines.wishes() };
    for (fixture, wishes) in [(&whole, &whole.wishes()), (&split, &split.wishes()), (&machines, &device)] {
        for name in ["windows.ps1", "profile.ps1"] {
            let script = fixture.file(Kind::Windows, wishes, name);
            let commands = crate::docs::powershell::read(&script).unwrap_or_else(|problem| panic!("{name}: {problem}\n{script}"));
            assert!(commands >= 2, "{script}");
        }
    }
}

#[test]
fn routes_come_from_the_policy() {
    let fixture = split();
    let profile = fixture.file(Kind::Windows, &fixture.wishes(), "profile.xml");
    let routes: Vec<_> = profile.split("<Address>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(routes, ["10.0.0.0", "192.0.2.1", "192.0.2.2", "2001:db8::"]);
    for element in
        ["SplitTunnel", "<DisableClassBasedDefaultRoute>true<", "<DnsSuffix>corp.example.test<", "<DomainName>.corp.example.test<"]
    {
        assert!(profile.contains(element), "{element}\n{profile}");
    }
    let script = fixture.file(Kind::Windows, &fixture.wishes(), "windows.ps1");
    assert!(script.contains("-SplitTunneling -DnsSuffix 'corp.example.test'\n"), "{script}");
    assert!(script.contains("Add-VpnConnectionRoute -ConnectionName $name -DestinationPrefix '2001:db8::/32'\n"), "{script}");
    let swanctl = fixture.file(Kind::StrongSwan, &fixture.wishes(), "swanctl.conf");
    assert!(swanctl.contains("remote_ts = 10.0.0.0/8, 192.0.2.1-192.0.2.2, 2001:db8::/32\n"), "{swanctl}");
    let whole = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]);
    let profile = whole.file(Kind::Windows, &whole.wishes(), "profile.xml");
    assert!(profile.contains("ForceTunnel") && !profile.contains("<Route>") && !profile.contains("ClassBased"), "{profile}");
    let device = Wishes { device: true, ..split().wishes() };
    let whole = Fixture::new(&[IKEV2, MACHINES, RADIUS, EVERYONE]);
    assert!(whole.made(Kind::Windows, &device).unwrap_err().contains("give it routes or selectors"));
}

#[test]
fn machines_show_the_certificate_that_the_listener_takes() {
    let fixture = Fixture::new(&[IKEV2, MACHINES, "client_eku = [\"ipsecIKE\"]\n", RADIUS, EVERYONE, SPLIT]);
    let device = Wishes { device: true, ..fixture.wishes() };
    let profile = fixture.file(Kind::Windows, &device, "profile.xml");
    assert!(profile.contains("<DeviceTunnel>true<") && profile.contains("<MachineMethod>Certificate<"), "{profile}");
    assert!(!profile.contains("<UserMethod>") && !profile.contains("RememberCredentials"), "{profile}");
    let script = fixture.file(Kind::Windows, &device, "windows.ps1");
    let issuer = base64(&fixture.root.der);
    for text in ["-AuthenticationMethod MachineCertificate", "-MachineCertificateEKUFilter '1.3.6.1.5.5.7.3.17'", &issuer] {
        assert!(script.contains(text), "{text}\n{script}");
    }
    assert!(script.lines().filter(|line| line.contains("-VpnConnection")).all(|line| line.contains("-AllUserConnection")), "{script}");
    let swanctl = fixture.file(Kind::StrongSwan, &device, "swanctl.conf");
    assert!(swanctl.contains("auth = pubkey\n            certs = client.pem\n") && !swanctl.contains("eap"), "{swanctl}");
    let users = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, SPLIT]);
    assert!(users.made(Kind::Windows, &device).unwrap_err().contains("takes no certificates of machines"));
}

#[test]
fn secrets_are_written_where_they_are_asked_for() {
    let fixture = split();
    let wishes = Wishes { user: Some("o\"neil".into()), ..fixture.wishes() };
    for kind in Kind::ALL {
        let made = fixture.made(kind, &wishes).unwrap();
        assert!(made.files.iter().all(|file| !file.text.contains("secret =") && !file.text.contains("PRIVATE")), "{made:?}");
    }
    let wishes = Wishes { password: Some(Zeroizing::new("back\\slash".into())), ..wishes };
    let swanctl = fixture.file(Kind::StrongSwan, &wishes, "swanctl.conf");
    assert!(swanctl.contains("id = \"o\\\"neil\"\n        secret = \"back\\\\slash\"\n"), "{swanctl}");
}

#[test]
fn what_could_not_work_is_refused_with_a_remedy() {
    let fixture = split();
    let refused = |wishes: Wishes| fixture.made(Kind::Windows, &wishes).unwrap_err();
    let other = refused(Wishes { server: Some("other.example.test".into()), ..Wishes::default() });
    assert!(other.contains("is not made out to other.example.test") && other.contains("--server"), "{other}");
    let policy = refused(Wishes { policy: Some("nobody".into()), ..Wishes::default() });
    assert!(policy.contains("no policy \"nobody\"") && policy.contains("\"everyone\""), "{policy}");
    let device = refused(Wishes { device: true, tunnel: Some(Tunnel::Sstp), ..Wishes::default() });
    assert!(device.contains("SSTP has no certificates"), "{device}");
    let strongswan = Wishes { tunnel: Some(Tunnel::Sstp), ..Wishes::default() };
    assert!(fixture.made(Kind::StrongSwan, &strongswan).unwrap_err().contains("speaks no SSTP"));
    let local = Fixture::new(&[IKEV2, USERS, "\n[local]\nusers_file = \"users\"\n", EVERYONE]);
    let tls = Wishes { eap: Some(EapMethod::Tls), ..Wishes::default() };
    let error = local.made(Kind::Windows, &tls).unwrap_err();
    assert!(error.contains("EAP-TLS does not do") && error.contains("take EAP-MSCHAPv2"), "{error}");
}

/// What `check` says of a text: numbers and problems of what fails.
fn fails(fixture: &Fixture, text: &str) -> Vec<(Vec<String>, String)> {
    let report = check(&fixture.config(), text.as_bytes(), std::slice::from_ref(&fixture.root), jiff::Timestamp::now().as_second())
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let findings = report.connections.into_iter().flat_map(|one| one.findings);
    findings.filter(|finding| finding.level == Level::Fail).map(|finding| (finding.numbers, finding.problem)).collect()
}

/// The numbers of the one thing that fails.
fn number(fixture: &Fixture, text: &str) -> String {
    let found = fails(fixture, text);
    let [(numbers, problem)] = &found[..] else { panic!("{found:?}\n{text}") };
    for number in numbers {
        assert!(!crate::explain::numbers::cases(number).is_empty(), "{number} is none of the table: {problem}");
    }
    numbers.join(" ")
}

const LOCAL: &str = "\n[local]\nusers_file = \"users\"\n";
const LOCAL_TLS: &str = "\n[local]\nusers_file = \"users\"\neap = [\"tls\"]\ncertificate = \"vpn\"\nclient_ca = [\"ca.pem\"]\n";

/// Every profile that can be made of every one of these configurations passes.
#[test]
fn what_is_made_passes() {
    let ciphers = [
        "",
        "\n[ciphers]\ncompat = \"windows-default\"\n",
        "\n[ciphers]\nike = [\"aes128-sha1\"]\nprfs = [\"sha1\"]\ngroups = [\"modp1024\"]\nesp = [\"aes256-sha1\"]\n",
        "\n[ciphers]\nike = [\"chacha20-poly1305\", \"aes256-sha512\"]\nprfs = [\"sha512\"]\ngroups = [\"curve25519\"]\nesp = [\"aes256-sha512\"]\n",
        "\n[ciphers]\nike = [\"aes256-sha384\"]\nprfs = [\"sha256\", \"sha384\"]\ngroups = [\"modp4096\", \"ecp384\"]\nesp = [\"aes128-gcm\"]\npfs = [\"ecp521\"]\nadditional = [\"mlkem768\"]\n",
    ];
    let logins = [
        &[IKEV2, MACHINES, SSTP, RADIUS][..],
        &[IKEV2, MACHINES, "client_eku = [\"ipsecIKE\", \"1.2.3.4\"]\n", RADIUS],
        &[IKEV2, USERS, SSTP, "auth = [\"mschapv2\"]\nport = 8443\n", LOCAL],
        &[IKEV2, USERS, "eap_only = true\n", LOCAL_TLS, "client_eku = [\"smartcardLogon\"]\n"],
        &[SSTP, RADIUS],
    ];
    let policies =
        ["", SPLIT, "selectors = [\"10.20.0.0/16\"]\n", "eap_type = [\"PEAP\"]\n", "allowed_methods = [\"EAP-TLS\", \"certificate\"]\n"];
    let mut made = 0;
    for (ciphers, login) in ciphers.iter().flat_map(|ciphers| logins.map(|login| (ciphers, login))) {
        // What policies say has nothing to do with ciphers.
        let policies = if ciphers.is_empty() { &policies[..] } else { &policies[..2] };
        for policy in policies {
            let fixture = Fixture::new(&[login, &[EVERYONE, policy, ciphers]].concat());
            made += each_passes(&fixture);
        }
    }
    assert!(made > 200, "{made} profiles only");
}

/// How many there were.
fn each_passes(fixture: &Fixture) -> usize {
    let config = fixture.config();
    let now = jiff::Timestamp::now().as_second();
    let mut made = 0;
    let eaps = EapMethod::ALL.map(Some).into_iter().chain([None]);
    for (kind, eap) in Kind::ALL.into_iter().flat_map(|kind| eaps.clone().map(move |eap| (kind, eap))) {
        for (tunnel, device) in [(Tunnel::Ikev2, false), (Tunnel::Ikev2, true), (Tunnel::Sstp, false)] {
            let p12 = Some(Zeroizing::new(vec![1, 2, 3]));
            let wishes = Wishes { tunnel: Some(tunnel), device, eap, user: Some("ann".into()), p12, ..fixture.wishes() };
            let Ok(files) = make(&config, kind, &wishes, now) else { continue };
            let profile = files.files.iter().find(|file| !file.name.ends_with(".ps1") && !file.name.ends_with(".pem")).unwrap();
            let report = check(&config, profile.text.as_bytes(), &wishes.authorities, now).unwrap();
            assert!(report.ok && report.connections[0].tunnels == [tunnel.to_string()], "{report:#?}\n{}", *profile.text);
            let warnings = &report.connections[0].findings;
            assert!(warnings.iter().all(|finding| finding.problem.starts_with("in EAP it believes any server")), "{report:#?}");
            made += 1;
        }
    }
    made
}

#[test]
fn broken_profiles_have_the_numbers_that_windows_shows() {
    let fixture = split();
    let profile = fixture.file(Kind::Windows, &fixture.wishes(), "profile.xml");
    let with = |from: &str, to: &str| {
        assert!(profile.contains(from), "{from}\n{profile}");
        number(&fixture, &profile.replace(from, to))
    };
    assert_eq!(with("vpn.example.test;vpn.example.test", "gate.example.test"), "13801");
    assert_eq!(with("<DHGroup>ECP256<", "<DHGroup>Group2<"), "13868");
    assert_eq!(with("<DHGroup>ECP256<", "<DHGroup>Group24<"), "13868");
    assert_eq!(with("<PfsGroup>ECP256<", "<PfsGroup>PFS2<"), "13868");
    assert_eq!(with("<EncryptionMethod>AES_GCM_256<", "<EncryptionMethod>DES3<"), "13868");
    assert_eq!(with(">GCMAES256</CipherTransformConstants>", ">GCMAES192</CipherTransformConstants>"), "");
    assert_eq!(with(">IKEv2<", ">L2tp<"), "789 787");
    let suite =
        profile.split("    <CryptographySuite>").next().unwrap().to_owned() + profile.split("</CryptographySuite>\n").nth(1).unwrap();
    let without = fails(&fixture, &suite);
    assert!(without.len() == 2 && without.iter().all(|(numbers, _)| numbers == &["13868"]), "{without:?}");
    let compat = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, "\n[ciphers]\ncompat = \"windows-default\"\n"]);
    assert_eq!(fails(&compat, &suite), [], "an unmanaged profile meets compat");
    let sstp = fixture.file(Kind::Windows, &Wishes { tunnel: Some(Tunnel::Sstp), ..fixture.wishes() }, "profile.xml");
    assert_eq!(number(&fixture, &sstp.replace("vpn.example.test;vpn.example.test", "gate.example.test")), "0x800B010F");
    assert_eq!(number(&Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]), &sstp), "0x8007274D");
    let device = fixture.file(Kind::Windows, &Wishes { device: true, ..fixture.wishes() }, "profile.xml");
    assert_eq!(number(&Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]), &device), "13801");
    assert_eq!(number(&fixture, &device.replace("SplitTunnel", "ForceTunnel")), "");
    let machines = Fixture::new(&[IKEV2, MACHINES, RADIUS, EVERYONE, "method = [\"certificate\"]\n"]);
    assert_eq!(number(&machines, &profile), "812");
}

#[test]
fn broken_eap_has_the_numbers_that_windows_shows() {
    let local = Fixture::new(&[IKEV2, USERS, LOCAL_TLS, "client_eku = [\"smartcardLogon\"]\n", EVERYONE]);
    let profile = local.file(Kind::Windows, &local.wishes(), "profile.xml");
    let with = |from: &str, to: &str| {
        assert!(profile.contains(from), "{from}\n{profile}");
        number(&local, &profile.replace(from, to))
    };
    assert_eq!(fails(&local, &profile), []);
    let (before, rest) = profile.split_once("<FilteringInfo").unwrap();
    let unfiltered = format!("{before}{}", rest.split_once("</FilteringInfo>").unwrap().1);
    assert_eq!(number(&local, &unfiltered), "853", "no filter");
    assert_eq!(with("<EKUOID>1.3.6.1.4.1.311.20.2.2<", "<EKUOID>1.2.3.4<"), "853", "another purpose");
    let thumbprint = spaced_hex(&local.root.sha1());
    assert_eq!(with(&format!("<IssuerHash>{thumbprint}"), "<IssuerHash>00 11"), "798");
    assert_eq!(with(&format!("<TrustedRootCA>{thumbprint}"), "<TrustedRootCA>00 11"), "864");
    assert_eq!(with("<ServerNames>vpn.example.test", "<ServerNames>VPN.example.test"), "866", "by case");
    let passwords = Fixture::new(&[IKEV2, USERS, LOCAL, EVERYONE]);
    let report = fails(&passwords, &profile);
    assert!(report.len() == 1 && report[0].0 == ["850", "812"], "{report:?}");
    let only = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, "eap_type = [\"PEAP\"]\n"]);
    assert_eq!(number(&only, &profile), "812");
}

#[test]
fn other_clients_are_judged_alike() {
    let fixture = split();
    let user = Wishes { user: Some("ann".into()), ..fixture.wishes() };
    let other = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]);
    for (kind, name, dialled, root) in [
        (Kind::Apple, "apple.mobileconfig", "<string>vpn.example.test<", false),
        (Kind::Android, "android.sswan", "\"vpn.example.test\"", true),
        (Kind::StrongSwan, "swanctl.conf", "= vpn.example.test", false),
        (Kind::NetworkManager, "evergate.nmconnection", "address=vpn.example.test", false),
    ] {
        let profile = fixture.file(kind, &user, name);
        assert_eq!(number(&fixture, &profile.replace(dialled, &dialled.replace("vpn", "gate"))), "13801", "{name}");
        let narrow = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, "\n[ciphers]\ngroups = [\"modp3072\"]\nike = [\"aes128-sha512\"]\n"]);
        let found = fails(&narrow, &profile);
        // Proposals of strongSwan hold that combination too; the others offer one.
        let strongswan = matches!(kind, Kind::StrongSwan | Kind::NetworkManager);
        assert!(
            found.iter().filter(|(numbers, _)| numbers == &["13868"]).count()
                == usize::from(!strongswan) * (1 + usize::from(kind == Kind::Apple)),
            "{name}: {found:?}"
        );
        assert_eq!(fails(&other, &profile).iter().any(|(_, problem)| problem.contains("authority in it")), root, "{name}");
    }
    let swanctl = fixture.file(Kind::StrongSwan, &user, "swanctl.conf");
    assert_eq!(number(&fixture, &swanctl.replace("prfsha256", "prfsha3")), "");
    assert_eq!(number(&fixture, &swanctl.replace("auth = eap-mschapv2", "auth = psk")), "13801");
    let narrow = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE, "selectors = [\"172.16.0.0/12\"]\n"]);
    assert_eq!(number(&narrow, &swanctl), "842");
    let password = Wishes { password: Some(Zeroizing::new("pass".into())), ..user };
    for (kind, name) in
        [(Kind::Apple, "apple.mobileconfig"), (Kind::Android, "android.sswan"), (Kind::NetworkManager, "evergate.nmconnection")]
    {
        let profile = fixture.file(kind, &password, name);
        let report = check(&fixture.config(), profile.as_bytes(), &[], jiff::Timestamp::now().as_second()).unwrap();
        assert!(report.connections[0].findings.iter().any(|finding| finding.problem.contains("password in clear")), "{name}: {report:?}");
    }
}

#[test]
fn what_is_no_profile_is_named() {
    let fixture = split();
    let refused = |bytes: &[u8]| check(&fixture.config(), bytes, &[], 0).unwrap_err();
    for (bytes, said) in [
        (&b""[..], "is empty"),
        (b"\x30\x82\x01\x00", "is signed or encrypted"),
        (b"\xff\xfe\x00\xd8", "neither UTF-8 nor UTF-16"),
        (b"<a", "is no XML"),
        (b"<a/>", "begins with <a>"),
        (b"<VPNProfile/>", "has no NativeProfile"),
        (b"{", "is no JSON"),
        (b"{}", "no remote.addr"),
        (b"<plist version=\"1.0\"><dict/></plist>", "has no PayloadContent"),
        (b"[connection]\n[vpn]\nservice-type=x\n", "plugin \"x\""),
        (b"connections { a {", "a } is missing"),
        (b"connections { a = \"b }", "a quote is not closed"),
        (b"nothing", "expected { or ="),
        (b"a { } ", "holds no connection"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(said), "{said}: {error}");
    }
    let deep = "a { ".repeat(10_000);
    assert!(refused(deep.as_bytes()).contains("sections in each other"));
    let wide = fixture.file(Kind::Windows, &fixture.wishes(), "profile.xml");
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(wide.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert!(check(&fixture.config(), &utf16, &[], jiff::Timestamp::now().as_second()).unwrap().ok, "as PowerShell writes it");
}

/// The problems that `check` warns of.
fn warnings(fixture: &Fixture, text: &str) -> Vec<String> {
    let report = check(&fixture.config(), text.as_bytes(), &[], jiff::Timestamp::now().as_second()).unwrap();
    let findings = report.connections.into_iter().flat_map(|one| one.findings);
    findings.filter(|finding| finding.level == Level::Warn).map(|finding| finding.problem).collect()
}

#[test]
fn other_ports_of_ike_are_for_those_who_can_be_told() {
    let usual = split();
    let unusual = Fixture::new(&[IKEV2, MACHINES, "ike_port = 5500\nnat_port = 5501\n", RADIUS, EVERYONE, SPLIT]);
    let user = |fixture: &Fixture| Wishes { user: Some("ann".into()), ..fixture.wishes() };
    for (kind, name, told) in [
        (Kind::Android, "android.sswan", "\"port\": 5501"),
        (Kind::StrongSwan, "swanctl.conf", "remote_port = 5501\n"),
        (Kind::NetworkManager, "evergate.nmconnection", "server-port=5501\n"),
    ] {
        let profile = unusual.file(kind, &user(&unusual), name);
        assert!(profile.contains(told), "{name}: {profile}");
        assert_eq!(warnings(&unusual, &profile), Vec::<String>::new(), "{name}");
        assert!(warnings(&usual, &profile)[0].contains("it dials UDP 5501 with NAT traversal"), "{name}");
        let other = profile.replace("5501", "5500");
        assert!(warnings(&unusual, &other)[0].contains("ike_port = 5500 and nat_port = 5501"), "{name}: the marker of NAT traversal");
    }
    for (kind, name) in [(Kind::Windows, "profile.xml"), (Kind::Apple, "apple.mobileconfig")] {
        let said = |made: &Made| made.notes.iter().any(|note| note.contains("dials UDP 500 and 4500 and no others"));
        assert!(said(&unusual.made(kind, &user(&unusual)).unwrap()) && !said(&usual.made(kind, &user(&usual)).unwrap()));
        let profile = unusual.file(kind, &user(&unusual), name);
        assert!(warnings(&unusual, &profile)[0].contains("it dials UDP 500 and 4500"), "{name}");
    }
    let swanctl = unusual.file(Kind::StrongSwan, &user(&unusual), "swanctl.conf");
    assert!(fails(&unusual, &swanctl.replace("local_port = 4500\n", ""))[0].1.contains("without the marker of NAT traversal"));
    let windows = usual.file(Kind::Windows, &usual.wishes(), "profile.xml");
    let with_port = windows.replace("vpn.example.test;vpn.example.test", "vpn.example.test:5500;vpn.example.test:5500");
    assert!(fails(&usual, &with_port)[0].1.contains("Windows takes none for IKEv2"));
}

#[test]
fn a_profile_is_held_against_the_sstp_listener_of_its_port() {
    let second =
        "\n[[listener]]\nname = \"passwords\"\nprotocol = \"sstp\"\ncertificates = [\"vpn\"]\nauth = [\"mschapv2\"]\nport = 8443\n";
    let both = Fixture::new(&[SSTP, "auth = [\"eap\"]\n", second, RADIUS, EVERYONE]);
    let sstp = Wishes { tunnel: Some(Tunnel::Sstp), ..both.wishes() };
    let profile = both.file(Kind::Windows, &sstp, "profile.xml");
    assert_eq!(fails(&both, &profile), []);
    let moved = profile.replace("vpn.example.test;vpn.example.test", "vpn.example.test:8443;vpn.example.test:8443");
    let found = fails(&both, &moved);
    assert!(found.len() == 1 && found[0].1.contains("it logs in with EAP; listener \"passwords\" takes \"mschapv2\""), "{found:?}");
    let nowhere = profile.replace("vpn.example.test;vpn.example.test", "vpn.example.test:9443;vpn.example.test:9443");
    assert!(warnings(&both, &nowhere).iter().any(|problem| problem.contains("it dials TCP 9443")), "{:?}", warnings(&both, &nowhere));
}

const SEVERAL: &str = "\n[[listener]]\nname = \"ikev2\"\nprotocol = \"ikev2\"\ndefault_certificate = \"vpn\"\n";

fn policy(name: &str, certificate: &str, more: &str) -> String {
    format!("\n[[policy]]\nname = \"{name}\"\npool = \"users\"\ncertificate = \"{certificate}\"\n{more}")
}

#[test]
fn machines_are_judged_as_the_gateway_tells_them_from_users() {
    let listener = [SEVERAL, MACHINES, "certificates = [\"vpn\", \"machines\"]\n"].concat();
    let machines = policy("machines", "machines", "method = [\"certificate\"]\nroutes = [\"10.0.0.0/8\"]\n");
    let users = policy("users", "vpn", "method = [\"eap\"]\n");
    let fixture = Fixture::new(&[MORE, &listener, RADIUS, &machines, &users]);
    for (device, policy) in [(true, "machines"), (false, "users")] {
        let wishes = Wishes { device, user: Some("ann".into()), ..fixture.wishes() };
        for (kind, name) in [(Kind::Windows, "profile.xml"), (Kind::StrongSwan, "swanctl.conf")] {
            let made = fixture.made(kind, &wishes).unwrap_or_else(|error| panic!("{kind:?} {policy}: {error}"));
            assert!(made.notes.iter().any(|note| note.contains(&format!("policy \"{policy}\" gives"))), "{made:?}");
            assert_eq!(fails(&fixture, &fixture.file(kind, &wishes, name)), [], "{kind:?} {policy}");
        }
    }
}

#[test]
fn a_tenant_trusts_and_dials_what_its_policy_shows() {
    let listener = [SEVERAL, MACHINES, "certificates = [\"vpn\", \"tenant\"]\n"].concat();
    let ours = policy("ours", "vpn", "user = [\"ann\"]\n");
    let theirs = policy("tenant", "tenant", "user = [\"dave\"]\n");
    let fixture = Fixture::new(&[MORE, &listener, RADIUS, &ours, &theirs]);
    for (tenant, server, root) in [("ours", "vpn.example.test", &fixture.root), ("tenant", "vpn.tenant.test", &fixture.other_root)] {
        let wishes = Wishes { policy: Some(tenant.into()), user: Some("ann".into()), ..fixture.wishes() };
        for kind in Kind::ALL {
            let made = fixture.made(kind, &wishes).unwrap_or_else(|error| panic!("{kind:?} {tenant}: {error}"));
            let profile = made.files.iter().find(|file| !file.name.ends_with(".ps1") && !file.name.ends_with(".pem")).unwrap();
            assert!(profile.text.contains(server), "{kind:?} {tenant}: {}", *profile.text);
            assert_eq!(fails(&fixture, &profile.text), [], "{kind:?} {tenant}\n{}", *profile.text);
            let authority = made.files.iter().find(|file| file.name == "ca.pem");
            assert!(authority.is_none_or(|file| *file.text == pem(root)), "{kind:?} {tenant}");
        }
        // Windows asks for no name: of those who trust both authorities, the default's one.
        let warned = warnings(&fixture, &fixture.file(Kind::Windows, &wishes, "profile.xml"));
        let both =
            |warning: &String| warning.contains("also trusts CN=Test Root is shown \"vpn\", which is not made out to vpn.tenant.test");
        assert_eq!(warned.iter().any(both), tenant == "tenant", "{warned:?}");
    }
    let wildcard = MORE.replace("names = [\"vpn.", "names = [\"*.");
    let fixture = Fixture::new(&[&wildcard, &listener, RADIUS, &ours, &theirs]);
    let tenant = || Wishes { policy: Some("tenant".into()), ..fixture.wishes() };
    let error = fixture.made(Kind::StrongSwan, &tenant()).unwrap_err();
    assert!(error.contains("is made out to *.tenant.test: say with --server what they dial"), "{error}");
    let named = Wishes { server: Some("x.tenant.test".into()), ..tenant() };
    assert!(fixture.file(Kind::StrongSwan, &named, "swanctl.conf").contains("remote_addrs = x.tenant.test"));
    let theirs = policy("tenant", "tenant", "user = [\"dave\"]\nserver_name = [\"gate.tenant.test\"]\n");
    let fixture = Fixture::new(&[&wildcard, &listener, RADIUS, &ours, &theirs]);
    assert!(fixture.file(Kind::StrongSwan, &tenant(), "swanctl.conf").contains("remote_addrs = gate.tenant.test"));
}

#[test]
fn windows_refuses_what_does_not_go_together() {
    let fixture = split();
    let user = fixture.file(Kind::Windows, &fixture.wishes(), "profile.xml");
    let device = fixture.file(Kind::Windows, &Wishes { device: true, ..fixture.wishes() }, "profile.xml");
    let whole = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]);
    let unrouted = whole.file(Kind::Windows, &whole.wishes(), "profile.xml").replace("ForceTunnel", "SplitTunnel");
    let classless = "<DisableClassBasedDefaultRoute>true</DisableClassBasedDefaultRoute></NativeProfile>";
    let filter = "<TrafficFilter><RemotePortRanges>443</RemotePortRanges></TrafficFilter><DomainNameInformation>";
    let forced = user.replace("SplitTunnel", "ForceTunnel");
    let only = |profile: String| match &fails(&fixture, &profile)[..] {
        [(numbers, problem)] if numbers.is_empty() => problem.clone(),
        found => panic!("{found:?}\n{profile}"),
    };
    let automatic = device.replace(">IKEv2<", ">Automatic<");
    assert_eq!(only(automatic), "Windows makes no device tunnel with NativeProtocolType \"Automatic\"");
    assert!(only(unrouted.replace("</NativeProfile>", classless)).contains("there is no Route: nothing goes into the tunnel"));
    assert!(only(user.replace("<DomainNameInformation>", filter)).contains("has ports and the Protocol \"\""));
    assert!(only(user.replace("<DnsServers>", "<DnsServers>dc1,")).contains("\"dc1\" in DnsServers is no address"));
    assert!(only(forced.replace("Route>true<", "Route>false<")).contains("no Route but those with ExclusionRoute"));
    let without_routes = forced.replace("<Address>", "<ExclusionRoute>true</ExclusionRoute><Address>");
    assert!(only(without_routes).contains("takes no DisableClassBasedDefaultRoute"));
    let always_on = "<AlwaysOn>true</AlwaysOn>";
    let late = user.replace(always_on, "").replace("</VPNProfile>", &format!("{always_on}</VPNProfile>"));
    let servers = user.replace("vpn.example.test;vpn.example.test", "vpn.example.test");
    let udp = filter.replace("<RemotePortRanges>", "<Protocol>17</Protocol><RemotePortRanges>");
    for (profile, said) in [
        (late, "from Intune: AlwaysOn stands behind DomainNameInformation"),
        (servers, "from Intune: Servers names the gateway once"),
        (user.replace("<MachineMethod>Eap</MachineMethod>", ""), "from Intune: Authentication has no MachineMethod"),
        (user.replace("<DomainNameInformation>", &udp), "TrafficFilter and IPv6 do not go together"),
        (device.replace("<DomainNameInformation>", &udp), "before version 2004"),
        (user.replace("<DomainNameInformation>", "<Proxy/><DomainNameInformation>"), "uses the Proxy of a profile only where everything"),
        (unrouted, "nothing but its own network goes in"),
    ] {
        assert_eq!(fails(&fixture, &profile), [], "{said}");
        let warned = warnings(&fixture, &profile);
        assert_eq!(warned.iter().filter(|warning| warning.contains(said)).count(), 1, "{said}: {warned:?}");
    }
}

#[test]
fn profiles_that_policies_have_outgrown_are_named() {
    let profile_of = |kind, name| {
        let fixture = split();
        fixture.file(kind, &Wishes { user: Some("ann".into()), ..fixture.wishes() }, name)
    };
    let (windows, swanctl) = (profile_of(Kind::Windows, "profile.xml"), profile_of(Kind::StrongSwan, "swanctl.conf"));
    let at = |keys: &str| Fixture::new(&[IKEV2, MACHINES, SSTP, RADIUS, EVERYONE, keys]);
    let warned = |fixture: &Fixture, profile: &str| {
        let of_others = ["in EAP it believes", "the authority in it"];
        let warnings = warnings(fixture, profile).into_iter();
        warnings.filter(|warning| !of_others.iter().any(|begin| warning.starts_with(begin))).collect::<Vec<_>>()
    };
    let moved = at(&SPLIT.replace("10.0.0.0/8", "172.16.0.0/12"));
    let routes = [
        "it sends 10.0.0.0/8 into the tunnel, which is not among routes of policy \"everyone\"",
        "policy \"everyone\" sends 172.16.0.0/12 into the tunnel, to which no route of the profile leads",
    ];
    assert_eq!(warned(&moved, &windows), routes);
    assert_eq!(warned(&moved, &swanctl), routes);
    let narrow = at(&format!("{SPLIT}selectors = [\"10.0.0.0/9\", \"192.0.2.0/24\", \"2001:db8::/32\"]\n"));
    let refused = "it sends 10.0.0.0/8 into the tunnel, which selectors of policy \"everyone\" let nobody reach";
    assert_eq!(warned(&narrow, &windows), [refused]);
    let renamed = at(&SPLIT.replace("corp.", "lab.").replace("10.0.0.53", "10.0.0.54"));
    for (profile, domain) in [
        (&windows, ".corp.example.test"),
        (&profile_of(Kind::Apple, "apple.mobileconfig"), "corp.example.test"),
        (&profile_of(Kind::NetworkManager, "evergate.nmconnection"), "corp.example.test"),
    ] {
        let asks = format!("it asks 10.0.0.53 for names of {domain}, and policy \"everyone\" gives 10.0.0.54");
        let of_names = [
            "its DNS suffix is corp.example.test, and policy \"everyone\" gives lab.example.test",
            &asks,
            "policy \"everyone\" has names of lab.example.test looked up through the tunnel, and the profile does not",
        ];
        assert_eq!(warned(&renamed, profile), of_names);
    }
    assert_eq!(warned(&renamed, &swanctl), Vec::<String>::new(), "it says nothing of names");
    let away = windows.replace("<DnsServers>10.0.0.53<", "<DnsServers>192.168.7.7<");
    assert!(warned(&split(), &away)[0].contains("it asks 192.168.7.7 for names of .corp.example.test, and no Route leads there"));
    let split_profile_of_whole = Fixture::new(&[IKEV2, MACHINES, RADIUS, EVERYONE]);
    assert_eq!(warned(&split_profile_of_whole, &windows), Vec::<String>::new(), "the policy names no routes");
    let everything = split_profile_of_whole.file(Kind::Windows, &split_profile_of_whole.wishes(), "profile.xml");
    assert!(warned(&split(), &everything)[0].contains("it sends everything into the tunnel, and policy \"everyone\" is for 10.0.0.0/8, "));
    let first = EVERYONE.replace("everyone", "others") + "routes = [\"10.99.0.0/16\"]\n";
    let several = Fixture::new(&[IKEV2, MACHINES, SSTP, RADIUS, &first, EVERYONE, SPLIT]);
    assert_eq!(warned(&several, &windows), Vec::<String>::new(), "one of the policies has them");
}

/// What `check` warns of, with what to do on the client.
fn warned_of(fixture: &Fixture, text: &str) -> Vec<(String, String)> {
    let report = check(&fixture.config(), text.as_bytes(), &[], jiff::Timestamp::now().as_second())
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    let findings = report.connections.into_iter().flat_map(|one| one.findings);
    findings.map(|finding| (finding.problem, finding.on_client.unwrap_or_default())).collect()
}

/// Where a format holds name servers and domains, they are held against the policy's.
#[test]
fn names_are_judged_where_other_clients_have_them() {
    let several =
        format!("{SPLIT}dns_domains = [\"corp.example.test\", \"lab.example.test\"]\n").replace("53\"]", "53\", \"2001:db8::53\"]");
    let fixture = Fixture::new(&[IKEV2, MACHINES, SSTP, RADIUS, EVERYONE, &several]);
    let user = Wishes { user: Some("ann".into()), ..fixture.wishes() };
    let apple = fixture.file(Kind::Apple, &user, "apple.mobileconfig");
    let linux = fixture.file(Kind::NetworkManager, &user, "evergate.nmconnection");
    let sstp = Wishes { tunnel: Some(Tunnel::Sstp), user: Some("ann".into()), ..fixture.wishes() };
    let linux_sstp = fixture.file(Kind::NetworkManager, &sstp, "evergate.nmconnection");
    let asks = |servers: &str, names: &str| format!("it asks {servers} for {names}, and policy \"everyone\" gives 10.0.0.53,2001:db8::53");
    let both = "names of corp.example.test, lab.example.test";
    let lab = "policy \"everyone\" has names of lab.example.test looked up through the tunnel, and the profile does not".to_owned();
    let suffix = "its DNS suffix is old.example.test, and policy \"everyone\" gives corp.example.test".to_owned();
    let dns = "write dns=10.0.0.53; into [ipv4] and dns=2001:db8::53; into [ipv6]";
    let search = "dns-search=corp.example.test;~lab.example.test;\n";
    let lab_in_apple = "<key>SupplementalMatchDomains</key>\n\t\t\t\t<array>\n\t\t\t\t\t<string>corp.example.test</string>\n\t\t\t\t\t<string>lab.example.test</string>";
    for (profile, from, to, problem, remedy) in [
        (&linux, "dns=10.0.0.53;", "dns=10.0.0.9;10.0.0.53#dc1;", asks("10.0.0.9", both), dns),
        (&linux, "dns=2001:db8::53;", "dns=2001:db8::9;", asks("2001:db8::9", both), dns),
        (&linux_sstp, "dns=10.0.0.53;", "dns=10.0.0.9;", asks("10.0.0.9", both), dns),
        (&linux, search, "dns-search=corp.example.test;\n", lab.clone(), "add ~lab.example.test; to dns-search in [ipv4] and [ipv6]"),
        (
            &linux,
            search,
            "dns-search=old.example.test;~corp.example.test;~lab.example.test;\n",
            suffix.clone(),
            "begin dns-search in [ipv4] and [ipv6] with corp.example.test;",
        ),
        (&apple, "<string>10.0.0.53<", "<string>10.0.0.9<", asks("10.0.0.9", both), "write 10.0.0.53,2001:db8::53 into ServerAddresses"),
        (
            &apple,
            lab_in_apple,
            &lab_in_apple.replace("\n\t\t\t\t\t<string>lab.example.test</string>", ""),
            lab,
            "add lab.example.test to SupplementalMatchDomains",
        ),
    ] {
        assert!(profile.contains(from), "{from}\n{profile}");
        assert_eq!(warned_of(&fixture, &profile.replace(from, to)), [(problem, remedy.to_owned())], "{to}");
    }
    for (profile, what) in [
        (linux.replace("never-default=true\n", ""), "asks for everything there"),
        (linux.replace(search, "dns-search=corp.example.test;~.;\n"), "~. is everything"),
        (linux.replace("dns=10.0.0.53;\n", "").replace("dns=2001:db8::53;\n", ""), "asks what the gateway gives"),
        (linux.replace("dns=10.0.0.53;\n", "").replace("dns=2001:db8::53;\n", "").replace(search, ""), "says nothing of names"),
    ] {
        assert_eq!(warned_of(&fixture, &profile), [], "{what}: {profile}");
    }
    let whole = linux.replace("never-default=true\n", "").replace("dns=10.0.0.53;", "dns=10.0.0.9;");
    assert_eq!(warned_of(&fixture, &whole)[0].0, asks("10.0.0.9", "all names"));
    for (profile, from, to, key) in
        [(&linux, "dns=10.0.0.53;", "dns=dc1;", "dns"), (&apple, "<string>10.0.0.53<", "<string>dc1<", "ServerAddresses")]
    {
        let found = fails(&fixture, &profile.replace(from, to));
        assert!(found.iter().any(|(_, problem)| *problem == format!("\"dc1\" in {key} is no address")), "{found:?}");
    }
}

/// strongSwan believes in EAP what it believes of gateways, and calls itself there as it does before them, unless it is told otherwise.
#[test]
fn strongswan_is_told_all_that_eap_needs() {
    let fixture = Fixture::new(&[IKEV2, USERS, RADIUS, EVERYONE]);
    let wishes = |authority: &Certificate| {
        let (eap_servers, eap_authorities) = (vec!["nps1.example.test".into()], vec![authority.clone()]);
        Wishes { eap: Some(EapMethod::Tls), eap_servers, eap_authorities, ..fixture.wishes() }
    };
    let names = |made: &Made| made.files.iter().map(|file| file.name).collect::<Vec<_>>();
    let says = |made: &Made, text: &str| made.notes.iter().any(|note| note.contains(text));
    let made = |kind, wishes: &Wishes| fixture.made(kind, wishes).unwrap();
    let other = made(Kind::StrongSwan, &wishes(&fixture.other_root));
    assert_eq!(names(&other), ["swanctl.conf", "ca.pem", "eap-ca.pem"]);
    let brought = Certificate::from_pem(other.files[2].text.as_bytes()).unwrap();
    assert!(brought[0].der == fixture.other_root.der && says(&other, "eap-ca.pem"), "{other:?}");
    assert_eq!(names(&made(Kind::StrongSwan, &wishes(&fixture.root))), ["swanctl.conf", "ca.pem"]);
    let unnamed = made(Kind::StrongSwan, &Wishes { eap: Some(EapMethod::Tls), ..fixture.wishes() });
    assert!(says(&unnamed, "strongSwan expects vpn.example.test in the certificate"), "{unnamed:?}");
    let named = || Wishes { user: Some("ann@example.test".into()), ..wishes(&fixture.root) };
    for (kind, name, line) in [
        (Kind::StrongSwan, "swanctl.conf", "eap_id = \"ann@example.test\""),
        (Kind::NetworkManager, "evergate.nmconnection", "local-identity=ann@example.test\n"),
    ] {
        assert!(fixture.file(kind, &named(), name).contains(line), "{name}");
        assert!(!says(&made(kind, &named()), "without --user") && says(&made(kind, &wishes(&fixture.root)), "without --user"), "{name}");
    }
    for (authority, warned) in [(&fixture.other_root, true), (&fixture.root, false)] {
        let linux = made(Kind::NetworkManager, &wishes(authority));
        assert_eq!(says(&linux, "believes one authority"), warned, "{linux:?}");
    }
}
