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

struct Fixture {
    folder: TempDir,
    root: Certificate,
}

impl Fixture {
    fn new(parts: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root_key = rcgen::KeyPair::generate().unwrap();
        let mut params = params("Test Root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = rcgen::CertifiedIssuer::self_signed(params, root_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = params_for("vpn.example.test");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = params.signed_by(&key, &root).unwrap();
        let authority = Certificate::from_pem(root.pem().as_bytes()).unwrap().remove(0);
        let fixture = Self { folder, root: authority };
        let files = [
            ("evergate.toml", [&[HEAD], parts].concat().concat()),
            ("ca.pem", root.pem()),
            ("vpn.pem", leaf.pem()),
            ("vpn.key", key.serialize_pem()),
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
