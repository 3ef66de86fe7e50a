//! Profiles (`.sswan`) for the strongSwan app on Android.
use super::connection::{Connection, EapMethod, Login};
use super::strongswan::{esp_proposals, ike_proposals};
use super::{File, Wishes, base64, uuid};
use crypto::Zeroizing;
use policy::network::AddressRange;
use serde_json::{Map, Value, json};

/// What the app does of EAP.
pub(super) const METHODS: [EapMethod; 2] = [EapMethod::MsChapV2, EapMethod::Tls];

pub(super) fn files(connection: &Connection<'_>, wishes: &Wishes, notes: &mut Vec<String>) -> Result<Vec<File>, String> {
    let kind = match &connection.login {
        Login::Eap(eap) if eap.method == EapMethod::Tls => "ikev2-eap-tls",
        Login::Eap(_) => "ikev2-eap",
        Login::Certificate(_) | Login::MsChapV2 => "ikev2-cert",
    };
    if connection.login.has_certificate() && wishes.p12.is_none() {
        notes.push("the user chooses the certificate when the profile is imported, unless --p12 FILE brings it".into());
    }
    let mut profile = Map::new();
    profile.insert("uuid".into(), uuid(&format!("android {}", connection.title)).into());
    profile.insert("name".into(), connection.title.as_str().into());
    profile.insert("type".into(), kind.into());
    // The app takes a single proposal each.
    let proposals = [("ike-proposal", ike_proposals(connection)), ("esp-proposal", esp_proposals(connection))];
    profile.extend(proposals.into_iter().filter_map(|(key, list)| Some((key.to_owned(), Value::from(list.into_iter().next()?)))));
    profile.insert("remote".into(), remote(connection));
    profile.insert("local".into(), local(connection, wishes));
    if let Some(routes) = &connection.network.routes {
        let subnets: Vec<_> = routes.iter().map(AddressRange::to_string).collect();
        profile.insert("split-tunneling".into(), json!({ "subnets": subnets }));
    }
    let text = Zeroizing::new(serde_json::to_string_pretty(&profile).map_err(|error| error.to_string())? + "\n");
    Ok(vec![File { name: "android.sswan", text }])
}

fn remote(connection: &Connection<'_>) -> Value {
    let mut remote = Map::new();
    remote.insert("addr".into(), connection.server.as_str().into());
    remote.insert("id".into(), connection.server.as_str().into());
    remote.extend(connection.port.map(|port| ("port".to_owned(), port.into())));
    remote.extend(connection.roots.first().map(|root| ("cert".to_owned(), base64(&root.der).into())));
    Value::Object(remote)
}

fn local(connection: &Connection<'_>, wishes: &Wishes) -> Value {
    let mut local = Map::new();
    if connection.login.has_certificate() {
        local.extend(wishes.p12.as_ref().map(|p12| ("p12".to_owned(), base64(p12).into())));
    } else {
        local.extend(connection.user.map(|user| ("eap_id".to_owned(), user.into())));
        local.extend(wishes.password.as_ref().map(|password| ("shared_secret".to_owned(), password.as_str().into())));
    }
    Value::Object(local)
}
