//! The clients are what they claim to be: their first messages against the model, and the shape of the others.
use super::super::windows::message;
use super::World;
use ike::wire::{Message, Payload, kind};
use sim::clients::Profile;
use sim::{KeyKind, client_credential};

#[test]
fn first_messages_are_those_of_the_model() {
    let models = [
        (Profile::windows_10(), "win10_default_frag", true),
        (Profile::windows_11(), "win11_default", true),
        (Profile::windows_registry(), "reg2_modp2048", true),
        (Profile::windows_registry(), "reg2_no_vic", false),
    ];
    for (profile, name, first_contact) in models {
        let model = Message::parse(&message(name)).unwrap();
        let world = World::lenient();
        let mut client = world.client(profile, 1);
        client.first_contact = first_contact;
        let group = client.profile.group;
        client.spi_i = model.header.initiator_spi;
        let built = client.model_message(group, vec![0xee; model.payloads.key_exchange().unwrap().public.len()]);
        assert_eq!(built.len(), message(name).len(), "{name}");
        let built = Message::parse(&built).unwrap();
        assert_eq!(built.payloads.sa(), model.payloads.sa(), "{name}");
        assert_eq!(built.payloads.vendor_ids().collect::<Vec<_>>(), model.payloads.vendor_ids().collect::<Vec<_>>(), "{name}");
        let kinds = |message: &Message| message.payloads.iter().map(Payload::kind).collect::<Vec<_>>();
        assert_eq!(kinds(&built), kinds(&model), "{name}");
    }
}

#[test]
fn the_order_of_ike_auth() {
    use kind::{AUTH, CERT, CERTREQ, CP, ID_I, ID_R, NOTIFY, SA, TS_I, TS_R};
    let mut world = World::lenient();
    let mut kinds = |profile, certificate: bool| {
        let mut client = world.client(profile, 1);
        client.certificate = certificate.then(|| client_credential(KeyKind::P256, "pc1.example.test"));
        client.init(&mut world.sim);
        client.first_auth().iter().map(Payload::kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(Profile::windows_custom(), false), [ID_I, CERTREQ, NOTIFY, CP, SA, TS_I, TS_R]);
    assert_eq!(kinds(Profile::windows_custom(), true), [ID_I, CERT, CERTREQ, AUTH, NOTIFY, CP, SA, TS_I, TS_R]);
    let apple = [ID_I, NOTIFY, NOTIFY, ID_R, AUTH, CERT, CP, NOTIFY, NOTIFY, SA, TS_I, TS_R];
    assert_eq!(kinds(Profile::apple(), true), apple, "CERT behind AUTH");
}
