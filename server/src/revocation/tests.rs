//! Lists from files and from a small server on loopback.
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A list issued on that day of June 2026, good for a long time, that revokes as many certificates.
fn list(authority: &Authority, day: u8, entries: u64) -> Vec<u8> {
    let revoked = |serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 6, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 6, day),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(u64::from(day)),
        issuing_distribution_point: None,
        revoked_certs: (1..=entries).map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().der().to_vec()
}

fn known(authority: &Authority) -> Arc<[Certificate]> {
    [Certificate::from_der(authority.der()).unwrap()].into()
}

fn entries(source: &Tracked) -> Option<usize> {
    source.list().map(|(_, list)| list.entries())
}

/// Gives each of `answers` to one connection, then is gone.
async fn server(answers: Vec<Vec<u8>>) -> (HttpUrl, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = HttpUrl::parse(&format!("http://127.0.0.1:{}/ca.crl?x=1", listener.local_addr().unwrap().port())).unwrap();
    let serve = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let len = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..len]).into_owned());
            stream.write_all(&answer).await.unwrap();
        }
        requests
    });
    (url, serve)
}

fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn urls() {
    for good in ["http://pki.example.com/ca.crl", "http://pki.example.com:8080", "http://[2001:db8::1]/a%20b.crl", "http://[::1]:81/x?y=z"]
    {
        assert_eq!(HttpUrl::parse(good).unwrap().as_str(), good);
    }
    for (bad, problem) in [
        ("https://pki.example.com/ca.crl", "is no http:// URL"),
        ("ldap:///CN=CA", "is no http:// URL"),
        ("http:///ca.crl", "names no host"),
        ("http://user@host/ca.crl", "names no host"),
        ("http://[::1/ca.crl", "names no host"),
        ("http://host:0/", "has no port"),
        ("http://host:99999/", "has no port"),
        ("http://host/a b", "holds ' '"),
        ("http://host/\r\nX: y", "holds '\\r'"),
        ("http://host/#x", "holds '#'"),
        ("http://höst/", "holds 'ö'"),
    ] {
        let error = HttpUrl::parse(bad).unwrap_err();
        assert!(error.starts_with(problem), "{bad}: {error}");
    }
}

#[tokio::test]
async fn fetching() {
    let large = [ok(b"").as_slice(), &[0x30; 100]].concat();
    type Body = Result<&'static [u8], &'static str>;
    let cases: Vec<(Vec<u8>, Body)> = vec![
        (ok(b"list"), Ok(b"list")),
        (b"HTTP/1.0 200 OK\r\n\r\nlist".to_vec(), Ok(b"list")),
        (large, Ok(b"")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlist".to_vec(), Err("the answer breaks off after 4 of 5 bytes")),
        (b"HTTP/1.1 404 Not Found\r\n\r\n".to_vec(), Err("the server answers with status 404")),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n".to_vec(),
            Err("the server answers with status 302 to \"http://other/\": name that place"),
        ),
        (b"SSH-2.0-x\r\n".to_vec(), Err("the answer is no HTTP")),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), Err("the answer is no HTTP")),
        (Vec::new(), Err("the answer is no HTTP")),
    ];
    let (url, serve) = server(cases.iter().map(|(answer, _)| answer.clone()).collect()).await;
    for (answer, expected) in &cases {
        let got = url.get().await;
        assert_eq!(got.as_deref().map_err(String::as_str), expected.as_ref().map(|body| *body).map_err(|error| *error), "{answer:?}");
    }
    let requests = serve.await.unwrap();
    let host = url.as_str().trim_start_matches("http://").split('/').next().unwrap();
    assert!(requests[0].starts_with(&format!("GET /ca.crl?x=1 HTTP/1.0\r\nHost: {host}\r\n")), "{requests:?}");
    assert!(url.get().await.unwrap_err().starts_with("no connection to port "));
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let path: PathBuf = folder.path().join("ca.crl");
    std::fs::write(&path, list(&authority, 2, 2)).unwrap();
    let mut source = Tracked::new(Source::File(path.clone()), &known(&authority), folder.path());
    source.load(&[]);
    assert_eq!(entries(&source), Some(2));
    assert!(!source.is_due(Instant::now()) && source.is_due(Instant::now() + Duration::from_secs(10)));
    assert!(!source.renew().await, "nothing has changed");
    // Broken, gone, of another authority: the list at hand stays.
    let breakages: [Box<dyn Fn()>; 3] = [
        Box::new(|| std::fs::write(&path, "no list").unwrap()),
        Box::new(|| std::fs::remove_file(&path).unwrap()),
        Box::new(|| std::fs::write(&path, list(&self::authority(), 3, 3)).unwrap()),
    ];
    for breakage in breakages {
        breakage();
        assert!(!source.renew().await);
        assert_eq!(entries(&source), Some(2));
        assert!(source.trouble().is_some());
    }
    // The administrator may go back to an older one.
    std::fs::write(&path, list(&authority, 1, 1)).unwrap();
    assert!(source.renew().await);
    assert_eq!((entries(&source), source.trouble()), (Some(1), None));
}

#[tokio::test]
async fn what_was_fetched_outlives_a_restart() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let state = folder.path().join("state/crl");
    let (url, _serve) = server(vec![ok(&list(&authority, 5, 5)), ok(&list(&authority, 4, 4)), ok(&list(&authority, 6, 6))]).await;
    let tracked = |authority: &Authority| Tracked::new(Source::Url(url.clone()), &known(authority), &state);
    let mut source = tracked(&authority);
    source.load(&[]);
    assert!(source.list().is_none() && source.is_due(Instant::now()));
    assert!(source.renew().await);
    assert_eq!(entries(&source), Some(5));
    // An older one, validly signed though it is, undoes nothing; neither here nor on disk.
    assert!(!source.renew().await);
    assert_eq!(entries(&source), Some(5));
    let mut restarted = tracked(&authority);
    restarted.load(&[]);
    assert_eq!(entries(&restarted), Some(5));
    assert!(restarted.renew().await);
    assert_eq!(entries(&restarted), Some(6));
    // The server is gone now.
    let mut restarted = tracked(&authority);
    restarted.load(&[]);
    assert_eq!(entries(&restarted), Some(6));
    let before = Instant::now();
    assert!(!restarted.renew().await);
    let pause = restarted.due().duration_since(before).as_secs();
    assert!((26..=31).contains(&pause), "{pause}");
    for _ in 0..8 {
        restarted.renew().await;
    }
    let pause = restarted.due().duration_since(Instant::now()).as_secs();
    assert!((800..=900).contains(&pause), "{pause}");
    assert_eq!(entries(&restarted), Some(6));
    // Kept for one authority, of no use for another of the same name.
    let mut other = tracked(&self::authority());
    other.load(&[]);
    assert!(other.list().is_none());
    // With no disk at all, a reload still knows what is known.
    let known = [restarted.list().unwrap()];
    std::fs::remove_dir_all(&state).unwrap();
    let mut reloaded = tracked(&authority);
    reloaded.load(&known);
    assert_eq!(entries(&reloaded), Some(6));
}

#[tokio::test]
async fn only_what_the_authorities_have_signed_is_taken() {
    let (folder, authority) = (TempDir::new().unwrap(), authority());
    let (url, _serve) = server(vec![ok(&list(&self::authority(), 2, 2)), ok(b"<html>"), ok(&list(&authority, 2, 2))]).await;
    let mut source = Tracked::new(Source::Url(url), &known(&authority), folder.path());
    assert!(!source.renew().await && source.list().is_none());
    assert!(!source.renew().await && source.list().is_none());
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is kept");
    assert!(source.renew().await);
    let pause = source.due().duration_since(Instant::now()).as_secs();
    assert!((3_230..=3_600).contains(&pause), "{pause}");
}

#[test]
fn an_authority_without_a_list_is_told_of_once() {
    let authority = authority();
    let (authorities, mut silent) = (known(&authority), BTreeSet::new());
    warn_of_silence(&authorities, &Vec::new(), Revocation::Soft, &mut silent);
    assert_eq!(silent.iter().collect::<Vec<_>>(), ["CN=Root"]);
    let list = pki::UnverifiedCrl::from_der(&list(&authority, 2, 0)).unwrap().verify(&authorities).unwrap();
    let lists = vec![(Source::File(PathBuf::from("ca.crl")), Arc::new(list))];
    warn_of_silence(&authorities, &lists, Revocation::Soft, &mut silent);
    assert!(silent.is_empty());
}

#[tokio::test]
async fn each_source_tells_what_it_holds() {
    let (folder, root) = (TempDir::new().unwrap(), authority());
    let sources = ["ca.crl", "none.crl"].map(|name| Source::File(folder.path().join(name)));
    std::fs::write(folder.path().join("ca.crl"), list(&root, 2, 5)).unwrap();
    let roots = TrustAnchors::new(known(&root).to_vec());
    let settings = Settings { policy: Revocation::Soft, sources: sources.to_vec() };
    let held = Keeper::start(Some((&settings, &roots)), folder.path()).held();
    let entries = |held: &Held| held.iter().map(|one| one.list.as_ref().map(|list| list.entries())).collect::<Vec<_>>();
    assert_eq!(entries(&held), [Some(5), None]);
    assert_eq!(held.iter().map(|one| one.source.clone()).collect::<Vec<_>>(), sources);
    let missing = "cannot be read: No such file or directory (os error 2)";
    assert_eq!(held.iter().map(|one| one.trouble.as_deref()).collect::<Vec<_>>(), [None, Some(missing)]);
    let older = read_list(&list(&root, 1, 9), &root);
    let twice = [vec![Known { source: sources[0].clone(), list: Some(older), trouble: None }], held].concat();
    let told = crate::status::revocation_lists(&twice, 4_070_908_799);
    assert_eq!(told.len(), 2, "one a source: {told:?}");
    let newest = told[0].list.as_ref().unwrap();
    assert_eq!((newest.entries, newest.secs_left, told[1].list.is_none()), (5, 1, true));
    assert_eq!(told.iter().map(|one| one.trouble.as_deref()).collect::<Vec<_>>(), [None, Some(missing)]);
    let off = Settings { policy: Revocation::Off, ..settings };
    assert!(Keeper::start(Some((&off, &roots)), folder.path()).held().is_empty());
}

fn read_list(der: &[u8], root: &Authority) -> Arc<Crl> {
    Arc::new(pki::UnverifiedCrl::from_bytes(der).unwrap().verify(&known(root)).unwrap())
}
