use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn args(folder: &Path, name: &str) -> QuickstartArgs {
    QuickstartArgs { name: Some(name.into()), dir: Some(folder.to_owned()), user: "alice".into(), no_start: true }
}

#[test]
fn what_it_writes_is_good_and_is_never_overwritten() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new");
    let mut out = Vec::new();
    let path = prepare(&args(&folder, "vpn.example.test"), &mut out).unwrap();
    let config = Config::load(&path, &[]).unwrap();
    let said = String::from_utf8(out).unwrap();
    let (leaf, local) = (config.certificates[0].credential.leaf(), config.local.unwrap());
    assert_eq!((leaf.dns_names.as_slice(), config.sstp.len()), (&["vpn.example.test".to_owned()][..], 1));
    assert_eq!(leaf.key_kind, Some(crypto::sign::KeyKind::Rsa { bits: 2048 }));
    let roots = pki::TrustAnchors::new(pki::Certificate::from_pem(&fs::read(folder.join("clients/ca.pem")).unwrap()).unwrap());
    let now = jiff::Timestamp::now().as_second();
    roots.verify(leaf, &[], pki::Purpose::Server, Some("vpn.example.test"), now).unwrap();
    assert!(roots.verify(leaf, &[], pki::Purpose::Server, None, now + 826 * 86_400).is_err());

    let password = said.lines().find_map(|line| line.strip_prefix("Password")).unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!((password.len(), local.users.get("alice").unwrap().nt_hash.clone()), (23, Some(nt_hash(&password))));
    assert!(fs::read_to_string(folder.join("clients/swanctl.conf")).unwrap().contains(&password));
    assert!(said.contains("evergate run --config") && said.contains("rasdial \"vpn.example.test\" alice"), "{said}");
    for file in ["ca.key", "vpn.key", "users", "clients/swanctl.conf"] {
        assert_eq!(fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }

    let before = fs::read(&path).unwrap();
    let error = prepare(&args(&folder, "other.example.test"), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("exists already") && fs::read(&path).unwrap() == before, "{error}");
    fs::remove_file(&path).unwrap();
    let error = prepare(&args(&folder, "other.example.test"), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("ca.pem exists already") && !path.exists(), "{error}");
}

#[test]
fn an_address_serves_as_a_name() {
    let place = tempfile::tempdir().unwrap();
    let path = prepare(&args(place.path(), "192.0.2.1"), &mut Vec::new()).unwrap();
    let config = Config::load(&path, &[]).unwrap();
    let leaf = config.certificates[0].credential.leaf();
    assert_eq!((leaf.dns_names.as_slice(), leaf.ip_addresses.len()), (&["192.0.2.1".to_owned()][..], 1));
}

#[test]
fn a_name_that_nobody_can_dial_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new");
    for name in [
        "",
        "a\"b",
        "a'b.example",
        "vpn example",
        "*.example.com",
        "vpn.example.com\n",
        "$(id)",
        "vpn\u{e4}.example",
        "-vpn.example",
        "2001:db8::1",
    ] {
        let error = prepare(&args(&folder, name), &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no name that clients can dial") && error.contains("--name"), "{name:?}: {error}");
    }
    let odd_user = QuickstartArgs { user: "a\"b".into(), ..args(&folder, "vpn.example.test") };
    assert!(prepare(&odd_user, &mut Vec::new()).unwrap_err().to_string().contains("which no name may"));
    assert!(!folder.exists());
}

#[test]
fn clients_get_what_their_gateway_gives() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("new");
    let odd = QuickstartArgs { user: "o'neil&<sons>".into(), ..args(&folder, "vpn.example.test") };
    let path = prepare(&odd, &mut Vec::new()).unwrap();
    let text = |name: &str| fs::read_to_string(folder.join("clients").join(name)).unwrap();
    assert!(text("apple.mobileconfig").contains("neil&amp;&lt;sons&gt;</string>"), "{}", text("apple.mobileconfig"));
    assert!(text("android.sswan").contains("\"eap_id\": \"o'neil&<sons>\""), "{}", text("android.sswan"));
    assert!(text("windows-sstp.ps1").contains("-TunnelType Sstp") && text("windows.ps1").contains("-TunnelType Ikev2"));
    let written: Vec<_> = fs::read_dir(folder.join("clients")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        written.len() == clients::FILES.len() && clients::FILES.iter().all(|name| written.iter().any(|file| file == name)),
        "{written:?}"
    );
    let config = Config::load(&path, &[]).unwrap();
    for name in clients::FILES.iter().filter(|name| !name.ends_with(".ps1") && !name.ends_with(".pem")) {
        let report = crate::profile::check(&config, text(name).as_bytes(), &[], jiff::Timestamp::now().as_second()).unwrap();
        assert!(report.ok, "{name}: {report:?}");
    }
}
