//! `[[ppk]]` and what the listener says of it and of EAP alone.
use super::*;

const PPK: &str = "\n[[ppk]]\nname = \"phones\"\nsecret_file = \"ppk.secret\"\n";

fn fixture(ppk: &str, listener: &str, secret: &str) -> Fixture {
    let listener = format!("auth = [\"eap\"]\n{listener}");
    let fixture = Fixture::new(&format!("{}{ppk}", MINIMAL.replacen("auth = [\"eap\"]", &listener, 1)));
    fixture.file("ppk.secret", secret, 0o600);
    fixture
}

#[test]
fn keys_as_text_and_as_digits() {
    let text = "0123456789abcdef0123456789abcdef";
    for (written, bytes) in [
        (format!("{text}\n"), text.as_bytes().to_vec()),
        (format!("0x{}\r\n", "5a".repeat(32)), vec![0x5a; 32]),
        (format!("0x{}", "Af".repeat(40)), vec![0xaf; 40]),
    ] {
        let config = fixture(PPK, "", &written).load().unwrap();
        let listener = config.ikev2.as_ref().unwrap();
        let [key] = &config.responder(listener).ppk.keys[..] else { panic!("{:?}", listener.ppk) };
        assert_eq!((key.id.as_slice(), key.secret.to_vec()), (&b"phones"[..], bytes));
        assert!(!listener.ppk.required);
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}

#[test]
fn the_id_may_be_another_than_the_name() {
    let ppk = PPK.replace("secret_file", "id = \"ppk@example.test\"\nsecret_file");
    let config = fixture(&ppk, "ppk = \"required\"", &"k".repeat(32)).load().unwrap();
    let policy = &config.ikev2.as_ref().unwrap().ppk;
    assert_eq!((policy.keys[0].id.as_slice(), policy.required), (&b"ppk@example.test"[..], true));
}

#[test]
fn weak_keys_and_idle_ones_are_warned_of() {
    let config = fixture(PPK, "", "short\n").load().unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].starts_with("ppk \"phones\": the key has 5 bytes"), "{:?}", config.warnings);
    let idle = with("protocol = \"ikev2\"\ncertificates = [\"vpn\"]\nauth = [\"eap\"]", "protocol = \"sstp\"\ncertificates = [\"vpn\"]");
    let text = fs::read_to_string(idle.path("evergate.toml")).unwrap() + PPK;
    let idle = Fixture::new(&text);
    idle.file("ppk.secret", &"k".repeat(32), 0o600);
    assert_eq!(idle.load().unwrap().warnings, ["[[ppk]] has no effect without an ikev2 listener"]);
}

#[test]
fn mistakes() {
    let long = "k".repeat(32);
    let odd = "evergate.toml:31: ppk \"phones\": secret_file = \"ppk.secret\": begins with 0x, but what follows is no even number of hexadecimal digits";
    for digits in ["0x", "0xabc", "0xzz", "0x5a 5a"] {
        assert_eq!(fixture(PPK, "", digits).error(), odd, "{digits}");
    }
    assert!(fixture(PPK, "", "\n").error().contains("is empty; expected the key"));
    let twice = format!("{PPK}{}", PPK.replace("phones", "tablets").replace("secret_file", "id = \"phones\"\nsecret_file"));
    assert!(fixture(&twice, "", &long).error().contains("id = \"phones\": \"phones\" is the id of another [[ppk]] as well"));
    assert!(fixture("", "ppk = \"required\"", &long).error().contains("there is no [[ppk]] that a client could use"));
    assert!(fixture(PPK, "ppk = \"require\"", &long).error().contains("did you mean \"required\"?"));
    assert!(fixture(&PPK.replace("secret_file", "secret_fil"), "", &long).error().contains("did you mean \"secret_file\"?"));
    let sstp = format!("{SSTP}ppk = \"optional\"\n{PPK}");
    assert!(fixture(&sstp, "", &long).error().contains("belongs to listeners with protocol = \"ikev2\""));
}

#[test]
fn eap_without_certificate_is_a_choice() {
    let auth = |listener: &str| fixture("", listener, "").load().map(|config| config.ikev2.unwrap().auth);
    assert!(!auth("").unwrap().eap_only);
    assert!(auth("eap_only = true").unwrap().eap_only);
    let certificate = with("auth = [\"eap\"]", "auth = [\"certificate\"]\nclient_ca = [\"ca.pem\"]\neap_only = true").error();
    assert!(certificate.contains("eap_only = true: has no meaning without auth = \"eap\""), "{certificate}");
}
