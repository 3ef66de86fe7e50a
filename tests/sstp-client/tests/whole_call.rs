//! Whole calls against a scripted server that follows the trace of a Windows client, over TLS on the loopback interface.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sstp_client::auth::{Credentials, Method};
use sstp_client::call::{Call, Options, Tamper, Writes};
use sstp_client::http::Style;
use sstp_client::mschap::Exchange;
use sstp_client::ncp::{Opt, frame, write_options};
use sstp_client::ppp::Settings;
use sstp_client::sstp::{self, Attribute, Binding, Hash, Packet, message};
use sstp_client::transport::{self, Ciphers, ProxyHeader, Versions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const NONCE: [u8; 32] = [0x5a; 32];
const CHALLENGE: [u8; 16] = [0x33; 16];
const LCP: u16 = 0xc021;
const IPCP: u16 = 0x8021;

/// What the scripted server does differently.
#[derive(Clone, Copy, Debug, Default)]
struct Script {
    method: Method,
    /// Sends its first Configure-Request in one write with CALL_CONNECT_ACK, and again only when told otherwise by the client's LCP.
    glued: bool,
    /// Claims to know the password and does not.
    lies: bool,
}

struct Server {
    stream: StreamOwned<ServerConnection, TcpStream>,
    certificate: Vec<u8>,
}

impl Server {
    /// Listens, and runs `script` for one connection.
    fn start(script: Script) -> (SocketAddr, JoinHandle<Result<(), String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let made = rcgen::generate_simple_self_signed(["vpn.example.test".to_owned()]).unwrap();
        let certificate = made.cert.der().to_vec();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(transport::provider(Ciphers::Any))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone().into()], key)
            .unwrap();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().map_err(|error| error.to_string())?;
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
            Server { stream, certificate }.run(script)
        });
        (address, thread)
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn packet(&mut self) -> Result<Vec<u8>, String> {
        let head = self.exact::<4>()?;
        let length = sstp::packet_len(&head).unwrap().unwrap();
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).map_err(|error| error.to_string())?;
        Ok([&head[..], &body].concat())
    }

    /// A PPP frame whose first bytes are `start`.
    fn expect(&mut self, start: &[u8]) -> Result<Vec<u8>, String> {
        let packet = self.packet()?;
        let Ok(Packet::Data(found)) = sstp::parse(&packet) else { return Err(format!("{packet:02x?} instead of {start:02x?}")) };
        if !found.starts_with(start) { Err(format!("{found:02x?} instead of {start:02x?}")) } else { Ok(found) }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(|error| error.to_string())
    }

    fn ppp(&mut self, protocol: u16, code: u8, id: u8, body: &[u8]) -> Result<(), String> {
        self.send(&sstp::data(&frame(protocol, code, id, body)))
    }

    fn run(mut self, script: Script) -> Result<(), String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.exact::<1>()?);
        }
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n")?;
        if self.packet()? != sstp::CALL_CONNECT_REQUEST {
            return Err("no CALL_CONNECT_REQUEST".into());
        }
        let value = [&[0, 0, 0, 3][..], &NONCE].concat();
        let ack = sstp::control(message::CALL_CONNECT_ACK, &[Attribute { id: 4, value }]);
        let mut options = vec![Opt::new(3, script.method.option()), Opt::new(1, [0x05, 0xac]), Opt::new(5, [9, 9, 9, 9])];
        let request = frame(LCP, 1, 56, &write_options(&options));
        self.send(&if script.glued { [ack, sstp::data(&request)].concat() } else { ack })?;
        self.lcp(&mut options)?;
        let hlak = self.authenticate(script)?;
        self.binding(hlak)?;
        self.network()
    }

    fn lcp(&mut self, options: &mut [Opt]) -> Result<(), String> {
        let first = self.expect(&[0xff, 3, 0xc0, 0x21, 1, 0, 0, 21, 1, 4, 0x0f, 0xfb, 5, 6])?;
        if first[18..] != [7, 2, 8, 2, 13, 3, 6] {
            return Err(format!("other options than Windows: {first:02x?}"));
        }
        self.ppp(LCP, 4, 0, &[7, 2, 8, 2, 13, 3, 6])?;
        let second = self.expect(&[0xff, 3, 0xc0, 0x21, 1, 1])?;
        self.ppp(LCP, 2, 1, &second[8..])?;
        self.ppp(LCP, 1, 57, &write_options(options))?;
        self.expect(&[0xff, 3, 0xc0, 0x21, 2, 57])?;
        for (id, text) in [(2, b"MSRASV5.20".as_slice()), (3, b"MSRAS-0-PC"), (4, &[0xab; 16])] {
            let found = self.expect(&[0xff, 3, 0xc0, 0x21, 12, id])?;
            if &found[12..] != text {
                return Err(format!("Identification {found:02x?}"));
            }
        }
        self.ppp(LCP, 9, 58, &[9, 9, 9, 9])
    }

    fn authenticate(&mut self, script: Script) -> Result<[u8; 32], String> {
        if script.method == Method::Pap {
            self.expect(b"\xff\x03\xc0\x23\x01\x00\x00\x13\x05alice\x08password")?;
            self.expect(&[0xff, 3, 0xc0, 0x21, 10, 58])?;
            self.ppp(0xc023, 2, 0, &[0])?;
            return Ok([0; 32]);
        }
        self.expect(&[0xff, 3, 0xc0, 0x21, 10, 58])?;
        self.ppp(0xc227, 1, 0, &[1])?;
        self.expect(b"\xff\x03\xc2\x27\x02\x00\x00\x0a\x01alice")?;
        let challenge = [&[26, 1, 7, 0, 24, 16][..], &CHALLENGE, b"vpn"].concat();
        self.ppp(0xc227, 1, 1, &challenge)?;
        let response = self.expect(&[0xff, 3, 0xc2, 0x27, 2, 1, 0, 64, 26, 2, 7, 0, 59, 49])?;
        let password = if script.lies { "other" } else { "password" };
        let exchange = Exchange {
            authenticator_challenge: CHALLENGE,
            peer_challenge: response[14..30].try_into().unwrap(),
            user: "alice".into(),
            password: password.into(),
        };
        if !script.lies && response[38..62] != exchange.nt_response() {
            return Err("wrong NT-Response".into());
        }
        let success = format!("{} M=welcome", exchange.authenticator_response());
        self.ppp(0xc227, 1, 2, &[&[26, 3, 7, 0, success.len() as u8 + 4], success.as_bytes()].concat())?;
        self.expect(&[0xff, 3, 0xc2, 0x27, 2, 2, 0, 6, 26, 3])?;
        self.ppp(0xc227, 3, 2, &[])?;
        Ok(exchange.keys().hlak())
    }

    fn binding(&mut self, hlak: [u8; 32]) -> Result<(), String> {
        let certificate_hash = Hash::Sha256.of(&self.certificate);
        let expected = Binding { hash: Hash::Sha256, nonce: NONCE, certificate_hash, hlak }.call_connected();
        if self.packet()? == expected {
            return Ok(());
        }
        self.send(&sstp::farewell(message::CALL_ABORT, 3, 4))?;
        Err("another binding".into())
    }

    fn network(&mut self) -> Result<(), String> {
        let ipv6 = self.expect(&[0xff, 3, 0x80, 0x57, 1, 5, 0, 14, 1, 10])?;
        let wish = self.expect(&[0xff, 3, 0x80, 0x21, 1, 6, 0, 34, 3, 6, 0, 0, 0, 0, 129])?;
        self.ppp(LCP, 8, 60, &ipv6[2..])?;
        self.ppp(IPCP, 1, 61, &[3, 6, 10, 0, 0, 1])?;
        self.expect(&[0xff, 3, 0x80, 0x21, 2, 61])?;
        self.ppp(IPCP, 4, 6, &wish[14..])?;
        self.expect(&[0xff, 3, 0x80, 0x21, 1, 7, 0, 10, 3, 6, 0, 0, 0, 0])?;
        self.ppp(IPCP, 3, 7, &[3, 6, 10, 0, 0, 5])?;
        self.expect(&[0xff, 3, 0x80, 0x21, 1, 8, 0, 10, 3, 6, 10, 0, 0, 5])?;
        self.ppp(IPCP, 2, 8, &[3, 6, 10, 0, 0, 5])?;
        self.echo()?;
        let goodbye = self.expect(&[0xff, 3, 0xc0, 0x21, 5])?;
        self.ppp(LCP, 6, goodbye[5], &[])?;
        if self.packet()?[4..6] != [0, 6] {
            return Err("no CALL_DISCONNECT".into());
        }
        self.send(&sstp::control(message::CALL_DISCONNECT_ACK, &[]))
    }

    /// Answers one echo request.
    fn echo(&mut self) -> Result<(), String> {
        let mut packet = self.expect(&[0xff, 3, 0, 0x21, 0x45])?[4..].to_vec();
        let (source, destination) = (packet[12..16].to_vec(), packet[16..20].to_vec());
        packet[12..16].copy_from_slice(&destination);
        packet[16..20].copy_from_slice(&source);
        packet[20] = 0;
        self.send(&sstp::data(&[&[0xff, 3, 0, 0x21][..], &packet].concat()))
    }
}

fn options(server: SocketAddr, method: Method) -> Options {
    let credentials = Credentials { user: "alice".into(), passwords: vec!["password".into()], ..Credentials::default() };
    Options {
        transport: transport::Options {
            server,
            server_name: "vpn.example.test".into(),
            ca: None,
            sni: true,
            versions: Versions::Both,
            ciphers: Ciphers::Any,
            alpn: false,
            plain: false,
            proxy: ProxyHeader::Off,
            proxy_source: None,
            timeout: Duration::from_secs(10),
        },
        ppp: Settings {
            method,
            credentials,
            computer: "PC".into(),
            correlation: [0xab; 16],
            mru: 4091,
            ipv6: true,
            ipv4: true,
            address: Ipv4Addr::UNSPECIFIED,
        },
        style: Style::Windows,
        writes: Writes::Whole,
        port_delay: Duration::from_millis(5),
        patience: Duration::from_secs(10),
        trace: false,
    }
}

fn whole(script: Script, change: impl Fn(&mut Options)) -> Call {
    let (address, server) = Server::start(script);
    let mut options = options(address, script.method);
    change(&mut options);
    let mut call = match Call::establish(&options) {
        Ok(call) => call,
        Err(error) => panic!("{error}; the server says {:?}", server.join()),
    };
    let own = call.address().unwrap();
    assert_eq!(own, Ipv4Addr::new(10, 0, 0, 5));
    assert_eq!(call.ping(own.into(), Ipv4Addr::new(10, 9, 9, 9).into(), 1, 20, Duration::from_secs(5)).unwrap(), 1);
    assert!(call.disconnect().unwrap());
    server.join().unwrap().unwrap();
    call
}

#[test]
fn eap_mschapv2_from_tcp_to_disconnect() {
    let call = whole(Script::default(), |_| {});
    assert_eq!(call.transport.facts.version, "TLSv1_3");
    assert_eq!(call.ppp.dropped_early, 0);
    assert_eq!(call.ppp.interface(), None, "IPv6 was rejected");
}

#[test]
fn pap_binds_with_zeros_and_tls_1_2_will_do() {
    let call = whole(Script { method: Method::Pap, ..Script::default() }, |options| options.transport.versions = Versions::Tls12);
    assert_eq!(call.transport.facts.version, "TLSv1_2");
}

#[test]
fn a_configure_request_glued_to_the_ack_is_lost() {
    let call = whole(Script { glued: true, ..Script::default() }, |_| {});
    assert_eq!(call.ppp.dropped_early, 1);
}

#[test]
fn packets_may_be_cut_anywhere() {
    for writes in [Writes::Bytes, Writes::Thirds] {
        whole(Script::default(), |options| options.writes = writes);
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let (address, server) = Server::start(Script { lies: true, ..Script::default() });
    let error = Call::establish(&options(address, Method::Eap)).unwrap_err();
    assert!(error.kind() == "protocol" && error.to_string().contains("does not prove the password"), "{error}");
    assert!(server.join().unwrap().is_err());
}

#[test]
fn every_tampered_binding_differs_from_the_right_one() {
    for tamper in [Tamper::Mac, Tamper::KeyHalves, Tamper::Nonce, Tamper::Certificate, Tamper::Sha1, Tamper::HashByte, Tamper::ZeroKey] {
        let (address, server) = Server::start(Script::default());
        let mut call = Call::connect(&options(address, Method::Eap)).unwrap();
        call.open_http().unwrap();
        call.request().unwrap();
        call.authenticate().unwrap();
        call.send_connected(tamper).unwrap();
        let error = call.negotiate_network().unwrap_err();
        assert_eq!((error.kind(), error.code()), ("refused", Some(4)), "{tamper:?}: {error}");
        assert_eq!(server.join().unwrap(), Err("another binding".to_owned()));
    }
}
