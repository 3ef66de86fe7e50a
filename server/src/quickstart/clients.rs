//! What each kind of client needs to connect: files, and a few lines to read.
use crypto::{Random as _, SystemRandom, Zeroizing};
use std::path::Path;

/// Facts that every client needs.
pub(super) struct Guide<'a> {
    pub(super) name: &'a str,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) folder: &'a Path,
    /// PEM.
    pub(super) authority: &'a str,
}

impl Guide<'_> {
    /// Names in the folder `clients`, with their texts.
    pub(super) fn files(&self) -> anyhow::Result<Vec<(&'static str, Zeroizing<String>)>> {
        Ok(vec![
            ("ca.pem", Zeroizing::new(self.authority.to_owned())),
            ("windows.ps1", Zeroizing::new(self.windows())),
            ("apple.mobileconfig", Zeroizing::new(self.apple())),
            ("android.sswan", Zeroizing::new(self.android()?)),
            ("swanctl.conf", self.swanctl()),
        ])
    }

    /// For people.
    pub(super) fn instructions(&self) -> String {
        let (name, user) = (self.name, self.user);
        let clients = self.folder.join("clients");
        let clients = clients.display();
        format!(
            "\
Windows 10 and 11   copy {clients}/ca.pem and windows.ps1 into one folder; in PowerShell as administrator:
                      powershell -ExecutionPolicy Bypass -File windows.ps1
                      rasdial \"{name}\" {user} *                  or: rasdial \"{name} SSTP\" {user} *
                    Windows asks for SSTP whether the certificate was revoked, which an authority of your own does not publish;
                    where it fails with 0x80092012 or 0x80092013:
                      New-ItemProperty HKLM:\\SYSTEM\\CurrentControlSet\\Services\\SstpSvc\\Parameters -Name NoCertRevocationCheck -Value 1
macOS, iOS, iPadOS  open {clients}/apple.mobileconfig on the device (AirDrop, mail), install it, trust the authority, connect
Android             strongSwan VPN Client: open {clients}/android.sswan
Linux               strongSwan: put {clients}/swanctl.conf into /etc/swanctl/conf.d and ca.pem into /etc/swanctl/x509ca, then
                      swanctl --load-all && swanctl --initiate --child evergate
                    NetworkManager (network-manager-strongswan), as the user:
                      nmcli connection add type vpn vpn-type strongswan con-name evergate vpn.data \\
                        \"address={name}, certificate={clients}/ca.pem, method=eap, user={user}, virtual=yes, encap=no, ipcomp=no\"
                    sstp-client, where only TCP 443 passes:
                      sstpc --ca-cert {clients}/ca.pem --user {user} --password PASSWORD {name} \\
                        require-mschap-v2 noauth nodeflate nobsdcomp usepeerdns defaultroute
"
        )
    }

    fn windows(&self) -> String {
        let name = quoted_for_powershell(self.name);
        let sstp = quoted_for_powershell(&format!("{} SSTP", self.name));
        format!(
            "\
# Run as administrator. Trusts the gateway's authority and makes two connections: IKEv2, and SSTP for networks that let only TCP 443 through.
$ErrorActionPreference = 'Stop'
Import-Certificate -FilePath (Join-Path $PSScriptRoot 'ca.pem') -CertStoreLocation Cert:\\LocalMachine\\Root | Out-Null
$eap = (New-EapConfiguration).EapConfigXmlStream
Add-VpnConnection -Name {name} -ServerAddress {name} -TunnelType Ikev2 -AuthenticationMethod Eap -EapConfigXmlStream $eap -EncryptionLevel Required -RememberCredential
Set-VpnConnectionIPsecConfiguration -ConnectionName {name} -EncryptionMethod AES256 -IntegrityCheckMethod SHA256 -DHGroup Group14 -CipherTransformConstants GCMAES256 -AuthenticationTransformConstants GCMAES256 -PfsGroup PFS2048 -Force
Add-VpnConnection -Name {sstp} -ServerAddress {name} -TunnelType Sstp -AuthenticationMethod Eap -EapConfigXmlStream $eap -EncryptionLevel Required -RememberCredential
"
        )
    }

    fn apple(&self) -> String {
        let (name, user) = (escaped_for_xml(self.name), escaped_for_xml(self.user));
        let (profile, authority, vpn) = (uuid(), uuid(), uuid());
        let certificate = base64_of(self.authority);
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>{profile}</string>
<key>PayloadUUID</key><string>{profile}</string>
<key>PayloadDisplayName</key><string>{name}</string>
<key>PayloadContent</key><array>
<dict>
<key>PayloadType</key><string>com.apple.security.root</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>{authority}</string>
<key>PayloadUUID</key><string>{authority}</string>
<key>PayloadDisplayName</key><string>Authority of {name}</string>
<key>PayloadContent</key><data>{certificate}</data>
</dict>
<dict>
<key>PayloadType</key><string>com.apple.vpn.managed</string>
<key>PayloadVersion</key><integer>1</integer>
<key>PayloadIdentifier</key><string>{vpn}</string>
<key>PayloadUUID</key><string>{vpn}</string>
<key>PayloadDisplayName</key><string>{name}</string>
<key>UserDefinedName</key><string>{name}</string>
<key>VPNType</key><string>IKEv2</string>
<key>IKEv2</key><dict>
<key>RemoteAddress</key><string>{name}</string>
<key>RemoteIdentifier</key><string>{name}</string>
<key>LocalIdentifier</key><string>{user}</string>
<key>AuthenticationMethod</key><string>None</string>
<key>ExtendedAuthEnabled</key><integer>1</integer>
<key>AuthName</key><string>{user}</string>
<key>EnablePFS</key><integer>1</integer>
<key>IKESecurityAssociationParameters</key><dict>
<key>EncryptionAlgorithm</key><string>AES-256-GCM</string>
<key>IntegrityAlgorithm</key><string>SHA2-256</string>
<key>DiffieHellmanGroup</key><integer>19</integer>
</dict>
<key>ChildSecurityAssociationParameters</key><dict>
<key>EncryptionAlgorithm</key><string>AES-256-GCM</string>
<key>IntegrityAlgorithm</key><string>SHA2-256</string>
<key>DiffieHellmanGroup</key><integer>19</integer>
</dict>
</dict>
</dict>
</array>
</dict></plist>
"#
        )
    }

    fn android(&self) -> anyhow::Result<String> {
        let profile = serde_json::json!({
            "uuid": uuid(),
            "name": self.name,
            "type": "ikev2-eap",
            "remote": { "addr": self.name, "id": self.name, "cert": base64_of(self.authority) },
            "local": { "eap_id": self.user },
        });
        Ok(serde_json::to_string_pretty(&profile)? + "\n")
    }

    fn swanctl(&self) -> Zeroizing<String> {
        let (name, user, password) = (self.name, self.user, self.password);
        Zeroizing::new(format!(
            "\
connections {{
    evergate {{
        version = 2
        remote_addrs = {name}
        vips = 0.0.0.0, ::
        send_certreq = yes
        local {{
            auth = eap-mschapv2
            eap_id = \"{user}\"
        }}
        remote {{
            auth = pubkey
            id = {name}
            cacerts = ca.pem
        }}
        children {{
            evergate {{
                remote_ts = 0.0.0.0/0, ::/0
            }}
        }}
    }}
}}
secrets {{
    eap-evergate {{
        id = \"{user}\"
        secret = \"{password}\"
    }}
}}
"
        ))
    }
}

/// In single quotes nothing is special but the quote itself.
pub(super) fn quoted_for_powershell(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn escaped_for_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// PEM without its frame is base64.
fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}

/// A random one (RFC 9562, version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
