//! Published vectors: RFC 2865 section 7 and RFC 5997 section 6.
use crate::api::Credentials;
use crate::codec::{Builder, Envelope, Malformed, Packet};
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
