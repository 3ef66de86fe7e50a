//! What each kind of client needs to connect: profiles, and a few lines to read.
use crate::config::Config;
use crate::profile::{self, Kind, Wishes};
use crypto::Zeroizing;
use pki::UnixTime;
use policy::network::Tunnel;
use std::path::Path;

/// Facts that every client needs.
pub(super) struct Guide<'a> {
    pub(super) name: &'a str,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) folder: &'a Path,
}

/// Names in the folder `clients`.
pub(super) const FILES: [&str; 9] = [
    "ca.pem",
    "windows.ps1",
    "windows-sstp.ps1",
    "profile.xml",
    "profile.ps1",
    "apple.mobileconfig",
    "android.sswan",
    "swanctl.conf",
    "evergate.nmconnection",
];

impl Guide<'_> {
    /// Those files with their texts, made as `evergate profile` makes them. The password is in the one for swanctl, which has nobody to ask.
    pub(super) fn files(&self, config: &Config, now: UnixTime) -> Result<Vec<(&'static str, Zeroizing<String>)>, String> {
        let mut files: Vec<(&'static str, Zeroizing<String>)> = Vec::new();
        for kind in Kind::ALL {
            let password = (kind == Kind::StrongSwan).then(|| Zeroizing::new(self.password.to_owned()));
            let wishes = Wishes { user: Some(self.user.to_owned()), password, ..Wishes::default() };
            files.extend(profile::make(config, kind, &wishes, now)?.files.into_iter().map(|file| (file.name, file.text)));
        }
        let sstp = Wishes { tunnel: Some(Tunnel::Sstp), ..Wishes::default() };
        let script = profile::make(config, Kind::Windows, &sstp, now)?.files.into_iter().find(|file| file.name == "windows.ps1");
        files.extend(script.map(|file| ("windows-sstp.ps1", file.text)));
        // The authority comes with several of them.
        files.sort_by_key(|(name, _)| *name);
        files.dedup_by_key(|(name, _)| *name);
        Ok(files)
    }

    /// For people.
    pub(super) fn instructions(&self) -> String {
        let (name, user) = (self.name, self.user);
        let clients = self.folder.join("clients");
        let clients = clients.display();
        format!(
            "\
Windows 10 and 11   in PowerShell as administrator, with {clients}/windows.ps1 and, for networks that let only TCP 443 through,
                    windows-sstp.ps1:
                      powershell -ExecutionPolicy Bypass -File windows.ps1
                      rasdial \"{name}\" {user} *                  or: rasdial \"{name} SSTP\" {user} *
                    Always On VPN: profile.xml (ProfileXML) for Intune, or profile.ps1 on the computer itself.
                    Windows asks for SSTP whether the certificate was revoked, which an authority of your own does not publish;
                    where it fails with 0x80092012 or 0x80092013:
                      New-ItemProperty HKLM:\\SYSTEM\\CurrentControlSet\\Services\\SstpSvc\\Parameters -Name NoCertRevocationCheck -Value 1
macOS, iOS, iPadOS  open {clients}/apple.mobileconfig on the device (AirDrop, mail), install it, trust the authority, connect
Android             strongSwan VPN Client: open {clients}/android.sswan
Linux               strongSwan: put {clients}/swanctl.conf into /etc/swanctl/conf.d and ca.pem into /etc/swanctl/x509ca, then
                      swanctl --load-all && swanctl --initiate --child evergate
                    NetworkManager (network-manager-strongswan): put evergate.nmconnection, mode 0600, into
                      /etc/NetworkManager/system-connections and ca.pem into /etc/evergate-client, then nmcli connection reload
                    sstp-client, where only TCP 443 passes:
                      sstpc --ca-cert {clients}/ca.pem --user {user} --password PASSWORD {name} \\
                        require-mschap-v2 noauth nodeflate nobsdcomp usepeerdns defaultroute
For other users, or after a change of the configuration: evergate profile --help
"
        )
    }
}
