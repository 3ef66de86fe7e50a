//! The local provider: says who may come in from a users file, where no RADIUS server does. Without IO.
//!
//! It takes the questions that [`radius_client::Client`] takes, [`Input::Eap`](radius_client::Input::Eap) and
//! [`Input::Login`](radius_client::Input::Login), and gives the same answers, so that nobody behind it can tell the difference. It ends
//! EAP-MSCHAPv2 and EAP-TLS itself, and answers MS-CHAPv2 and PAP. A user whose password must be changed changes it in MS-CHAPv2 of either wrapping.
//!
//! Only the NT hash of a password serves MS-CHAPv2, whatever else a password could be kept as: a users file is a secret.
#![forbid(unsafe_code)]

mod book;
mod conversation;
mod eap_mschapv2;
mod eap_tls;
mod guard;
mod mschapv2;
mod provider;
mod users;

pub use guard::{Locked, Lockout};
pub use mschapv2::{NtHash, nt_hash};
pub use provider::{Moment, Provider, SERVER};
pub use users::{HEADER, User, Users, UsersError, check_name, read_date, with_user, without_user};

use std::sync::Arc;

/// An EAP method that is ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EapMethod {
    /// draft-kamath-pppext-eap-mschapv2
    MsChapV2,
    /// RFC 5216, with TLS 1.3 RFC 9190.
    Tls,
}

impl EapMethod {
    /// Its EAP type.
    fn number(self) -> u8 {
        match self {
            Self::MsChapV2 => eap::method::MSCHAPV2,
            Self::Tls => eap::method::TLS,
        }
    }
}

/// Keeps a user whose password has changed, before it counts: puts it in the place of the one of this name in the users file. The error says why not.
pub type Store<'a> = dyn FnMut(&User) -> Result<(), String> + 'a;

/// How clients are asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name that the server gives itself in EAP-MSCHAPv2.
    pub server_name: String,
    /// The first is offered; a client that refuses it gets the one that it names.
    pub methods: Vec<EapMethod>,
    /// For EAP-TLS, which is not offered without it.
    pub tls: Option<Arc<tls::MutualSettings>>,
    pub lockout: Lockout,
    /// Characters that a password has at least which a user chooses anew.
    pub password_min: usize,
}
