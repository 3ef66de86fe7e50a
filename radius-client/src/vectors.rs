//! Published vectors (RFC 2865 section 7, RFC 5997 section 6), and for RFCs without any what FreeRADIUS 3.2 writes.
use crate::api::Credentials;
use crate::codec::{Builder, Envelope, Malformed, Packet};
use crate::mppe::{self, Hiding};
use crate::words;
use crypto::Zeroizing;

const SECRET: &[u8] = b"xyzzy5461";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn response_fits(request: &str, response: &str) {
    let (request, response) = (hex(request), hex(response));
    let (request, response) = (Packet::parse(&request).unwrap(), Packet::parse(&response).unwrap());
    assert_eq!(request.identifier(), response.identifier());
    assert_eq!(response.response_authenticator(request.authenticator(), SECRET), *response.authenticator());
    assert_ne!(response.response_authenticator(request.authenticator(), b"other"), *response.authenticator());
}

/// RFC 2865 section 7.1.
#[test]
fn telnet_login() {
    response_fits(
        "01000038 0f403f9473978057bd83d5cb98f4227a 01066e656d6f 02120dbe708d93d413ce3196e43f782a0aee 0406c0a80110 050600000003",
        "02000026 86fe220e7624ba2a1005f6bf9b55e0b2 060600000001 0f0600000000 0e06c0a80103",
    );
}

/// RFC 2865 section 7.2.
#[test]
fn framed_user_with_chap() {
    let response =
        "02010038 15efbc7dab26cfa3dc34d9c03c8601a4 060600000002 070600000001 0806fffffffe 0a0600000002 0d0600000001 0c06000005dc";
    response_fits(
        "01010047 2aee86f08d0d55969ca5978e0d3367a2 0108666c6f707379 031316e97557c316185895f293ff634407727504 06c0a80110 \
         050600000014 060600000002 070600000001",
        response,
    );
    let bytes = hex(response);
    let numbers: Vec<_> = Packet::parse(&bytes).unwrap().attributes().iter().map(|attribute| attribute.number).collect();
    assert_eq!(numbers, [6, 7, 8, 10, 13, 12]);
}

/// RFC 2865 section 7.3.
#[test]
fn challenge() {
    response_fits(
        "01020039 f3a47a1f6a6d76710b947ab93041a039 01076d6f707379 021233657573778289b570885e15084825c5 0406c0a80110 050600000007",
        "0b02004e 36f3c8764ae8c71157403c0c71ff9c45 1230 4368616c6c656e67652033323736393433302e2020456e74657220726573706f6e736520\
         61742070726f6d70742e 180a 3332373639343330",
    );
}

/// RFC 5997 section 6.1: Status-Server with Message-Authenticator.
#[test]
fn message_authenticator() {
    let request = hex("0cda0026 8a54f4686fb394c52866e302185d0623 5012 5a665e2e1e8411f3e243822097c84fa3");
    let request = Packet::parse(&request).unwrap();
    let attribute = request.first(80).unwrap();
    assert_eq!(request.message_authenticator(attribute.offset, request.authenticator(), SECRET), *attribute.value);
    let response = hex("02da0014 ef0d552a4bf2d693ec2b6fe8b5411d66");
    let response = Packet::parse(&response).unwrap();
    assert_eq!(response.response_authenticator(request.authenticator(), SECRET), *response.authenticator());
}

/// What a login puts behind the Message-Authenticator of a request with this authenticator.
fn put(credentials: &Credentials, authenticator: &[u8; 16]) -> Vec<u8> {
    let mut packet = Builder::access_request(0, authenticator);
    let envelope = Envelope::Identified { identifier: 0, authenticator: *authenticator };
    credentials.put(&mut packet, &envelope, SECRET).unwrap();
    packet.sign(SECRET).unwrap()[38..].to_vec()
}

/// RFC 2865 sections 7.1 and 7.3.
#[test]
fn hidden_passwords() {
    for (authenticator, password, hidden) in [
        ("0f403f9473978057bd83d5cb98f4227a", "arctangent", "02120dbe708d93d413ce3196e43f782a0aee"),
        ("f3a47a1f6a6d76710b947ab93041a039", "challenge", "021233657573778289b570885e15084825c5"),
    ] {
        let credentials = Credentials::Pap { password: Zeroizing::new(password.into()) };
        assert_eq!(put(&credentials, &hex(authenticator).try_into().unwrap()), hex(hidden));
    }
}

/// RFC 2865 section 7.2, whose challenge is the Request Authenticator.
#[test]
fn chap_password() {
    let challenge = hex("2aee86f08d0d55969ca5978e0d3367a2");
    let response = crypto::hash::md5(&[&[0x16], b"arctangent", &challenge]);
    let written = put(&Credentials::Chap { identifier: 0x16, challenge: challenge.clone(), response }, &[0; 16]);
    let (password, rest) = written.split_at(19);
    assert_eq!(password, hex("031316e97557c316185895f293ff6344077275"));
    assert_eq!(rest, [&[60, 18][..], &challenge].concat());
}

/// Keys and DNS servers of RFC 2548, a tunnel of RFC 2868, numbers and text of RFC 2869, in FreeRADIUS's answer to a login by PAP.
#[test]
fn access_accept_of_another_implementation() {
    let request = hex("01070044 404142434445464748494a4b4c4d4e4f 5012fa3c86fa4b296ed80591ebbada570a01 01066e656d6f \
         0212ec25c59ddcb9dec488a2821b6c2e2009 0406c0a80110");
    let response = hex("020700d3 9bce82d2a17a34ad9f28021b941445b7 \
         1a3a000001371134806de3cf41286bdc61fd4f207d9405d5ed89ba3b1bc46f47bee2b8ebb13d475dd8730f6c48ce0534f23893bccecd28f035ab \
         1a2a00000137102488c801fce818a0d45fb8262d1a443b8c29bddd587b65906a0a54076aa256aa9d2b4f 1a0c000001371c060a000035 \
         400600000009 51080173746166 66 550600000384 58077573657273 5c1e7065726d697420696e2069702066726f6d20616e7920746f20616e79 \
         5904ff01 5012615318858806a8aeb8ca01d7f8840012");
    let (request, response) = (Packet::parse(&request).unwrap(), Packet::parse(&response).unwrap());
    for packet in [&request, &response] {
        let found = packet.first(80).unwrap();
        assert_eq!(packet.message_authenticator(found.offset, request.authenticator(), SECRET), *found.value);
    }
    assert_eq!(response.response_authenticator(request.authenticator(), SECRET), *response.authenticator());
    let hiding = Hiding::Secret { request_authenticator: request.authenticator(), secret: SECRET };
    let keys: Vec<u8> = (0..32).chain(0xa0..0xb0).chain([0; 16]).collect();
    assert_eq!(*mppe::msk(&response, hiding).unwrap(), keys);
    let words = words::words(&response);
    let says = |name: &str, text: &str| words.contains(&(name.to_owned(), text.to_owned()));
    assert!(says("Tunnel-Type", "9") && says("Tunnel-Private-Group-Id", "staff") && says("Framed-Pool", "users"), "{words:?}");
    assert!(says("NAS-Filter-Rule", "permit in ip from any to any") && says("Chargeable-User-Identity", "0xff01"), "{words:?}");
    assert_eq!((response.u32(85), response.microsoft(28).unwrap()[0].ipv4("")), (Ok(Some(900)), Ok([10, 0, 0, 53].into())));
}

#[test]
fn every_truncation_is_malformed() {
    let whole =
        hex("02010038 15efbc7dab26cfa3dc34d9c03c8601a4 060600000002 070600000001 0806fffffffe 0a0600000002 0d0600000001 0c06000005dc");
    for length in 0..whole.len() {
        let cut = &whole[..length];
        let expected = if length < 20 { Malformed::Short { got: length } } else { Malformed::Length { said: 0x38, got: length } };
        assert_eq!(Packet::parse(cut).unwrap_err(), expected);
        if length < 20 {
            continue;
        }
        let mut honest = cut.to_vec();
        honest[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        // The attributes are six bytes each: only between two of them may the packet end.
        assert_eq!(Packet::parse(&honest).is_ok(), (length - 20) % 6 == 0, "{length}");
    }
    let padded = [&whole[..], &[0; 7]].concat();
    assert_eq!(Packet::parse(&padded).unwrap().attributes().len(), 6, "bytes beyond Length are padding");
}

#[test]
fn malformed_attributes_are_named_with_their_offset() {
    let with = |attributes: &[u8]| [&[2, 1, 0, (20 + attributes.len()) as u8][..], &[0; 16], attributes].concat();
    let parse = |attributes: &[u8]| Packet::parse(&with(attributes)).map(drop).unwrap_err();
    assert_eq!(parse(&[24, 3, 9, 25, 1]), Malformed::Attribute { kind: 25, offset: 23, length: 1, remaining: 2 });
    assert_eq!(parse(&[25, 0]), Malformed::Attribute { kind: 25, offset: 20, length: 0, remaining: 2 });
    assert_eq!(parse(&[25, 5, 1, 2]), Malformed::Attribute { kind: 25, offset: 20, length: 5, remaining: 4 });
    assert_eq!(parse(&[24, 3, 9, 25]), Malformed::Truncated { offset: 23 });
    let short = with(&[27, 5, 1, 2, 3]);
    let error = Packet::parse(&short).unwrap().u32(27).unwrap_err();
    assert_eq!(error.to_string(), "Session-Timeout at byte 20 has a value of 3 bytes; a number has 4 bytes");
}
