//! Scripts for Windows: the connection made by cmdlets, and ProfileXML handed to the MDM bridge.
use super::connection::{ClientCertificate, Connection, Login};
use super::windows::CLIENT_AUTH;
use super::{authority_file, base64};
use ike::proposal::WindowsPolicy;
use pki::Certificate;
use policy::network::Tunnel;
use std::fmt::Write as _;

/// A string of PowerShell that stands for itself: in single quotes nothing is special but the quote, of which Windows knows five.
pub(crate) fn quoted(text: &str) -> String {
    let doubled = |c: char| if matches!(c, '\'' | '\u{2018}'..='\u{201b}') { vec![c, c] } else { vec![c] };
    format!("'{}'", text.chars().flat_map(doubled).collect::<String>())
}

/// Makes or replaces the connection.
pub(super) fn script(connection: &Connection<'_>, suite: Option<WindowsPolicy>, eap: Option<&str>) -> String {
    let Connection { title, tunnel, device, network, .. } = connection;
    let scope = if *device { " -AllUserConnection" } else { "" };
    let mut text = String::from("#Requires -RunAsAdministrator\n# Makes the VPN connection, or replaces the one of this name.\n");
    text.push_str("$ErrorActionPreference = 'Stop'\n");
    let _ = writeln!(text, "$name = {}", quoted(title));
    trust(&mut text, connection);
    let _ = writeln!(text, "if (Get-VpnConnection -Name $name{scope} -ErrorAction SilentlyContinue) {{");
    let _ = writeln!(text, "    Remove-VpnConnection -Name $name{scope} -Force\n}}");
    if let Some(eap) = eap {
        let _ = writeln!(text, "$eap = [xml]@'\n{eap}\n'@");
    }
    let tunnel_type = if *tunnel == Tunnel::Ikev2 { "Ikev2" } else { "Sstp" };
    let method = match &connection.login {
        Login::Eap(_) => "Eap -EapConfigXmlStream $eap -RememberCredential",
        Login::MsChapV2 => "MSChapv2 -RememberCredential",
        Login::Certificate(_) => "MachineCertificate",
    };
    let split = if network.routes.is_some() { " -SplitTunneling" } else { "" };
    let suffix = network.suffix.as_ref().map_or_else(String::new, |suffix| format!(" -DnsSuffix {}", quoted(suffix)));
    let _ = writeln!(
        text,
        "Add-VpnConnection -Name $name -ServerAddress {} -TunnelType {tunnel_type} -AuthenticationMethod {method} -EncryptionLevel Required\
         {split}{suffix}{scope}",
        quoted(&connection.address())
    );
    if let Login::Certificate(certificate) = &connection.login {
        narrow(&mut text, certificate, scope);
    }
    if let Some(suite) = suite {
        let _ = writeln!(text, "Set-VpnConnectionIPsecConfiguration -ConnectionName $name {suite}{scope} -Force");
    }
    for (address, length) in network.prefixes() {
        let _ = writeln!(
            text,
            "Add-VpnConnectionRoute -ConnectionName $name -DestinationPrefix {}{scope}",
            quoted(&format!("{address}/{length}"))
        );
    }
    text
}

/// Puts the root where IKE and SSTP look for it: with the machine.
fn trust(text: &mut String, connection: &Connection<'_>) {
    for root in &connection.roots {
        let _ = writeln!(text, "$root = {}", certificate(root));
        text.push_str("$store = [Security.Cryptography.X509Certificates.X509Store]::new('Root', 'LocalMachine')\n");
        text.push_str("$store.Open('ReadWrite'); $store.Add($root); $store.Close()\n");
    }
}

fn certificate(certificate: &Certificate) -> String {
    format!("[Security.Cryptography.X509Certificates.X509Certificate2]::new([Convert]::FromBase64String('{}'))", base64(&certificate.der))
}

/// Which of the machine's certificates is meant: Windows takes any one with the purpose clientAuth otherwise.
fn narrow(text: &mut String, wanted: &ClientCertificate, scope: &str) {
    let Some(issuer) = wanted.issuers.first() else { return };
    let _ = writeln!(text, "$issuer = {}", certificate(issuer));
    let oids: Vec<_> = wanted.purposes.iter().filter(|oid| *oid != CLIENT_AUTH).map(|oid| quoted(oid)).collect();
    let purposes = if oids.is_empty() { String::new() } else { format!(" -MachineCertificateEKUFilter {}", oids.join(", ")) };
    let _ = writeln!(text, "Set-VpnConnection -Name $name{scope} -MachineCertificateIssuerFilter $issuer{purposes} -Force");
}

/// Hands ProfileXML to the MDM bridge, as a management server would.
pub(super) fn installer(connection: &Connection<'_>, profile: &str) -> String {
    let whose = if connection.device {
        "# Run it as SYSTEM (psexec -s powershell -File ..): device tunnels belong to the machine.\n"
    } else {
        "# Run it as administrator, while the user whom the connection is for is logged on.\n"
    };
    let mut text =
        format!("# Installs the Always On VPN profile, or replaces the one of this name.\n{whose}$ErrorActionPreference = 'Stop'\n");
    let _ = writeln!(text, "$name = {}\n$xml = @'\n{}\n'@", quoted(&connection.title), profile.trim_end());
    if authority_file(connection).is_some() {
        trust(&mut text, connection);
    }
    text.push_str(if connection.device { DEVICE_OPTIONS } else { USER_OPTIONS });
    text.push_str(BRIDGE);
    text
}

const DEVICE_OPTIONS: &str = "$options = [Microsoft.Management.Infrastructure.Options.CimOperationOptions]::new()\n";

const USER_OPTIONS: &str = "\
$account = [Security.Principal.NTAccount](Get-CimInstance Win32_ComputerSystem).UserName
$sid = $account.Translate([Security.Principal.SecurityIdentifier]).Value
$options = [Microsoft.Management.Infrastructure.Options.CimOperationOptions]::new()
$options.SetCustomOption('PolicyPlatformContext_PrincipalContext_Type', 'PolicyPlatform_UserContext', $false)
$options.SetCustomOption('PolicyPlatformContext_PrincipalContext_Id', $sid, $false)
";

const BRIDGE: &str = "\
$space, $class = 'root\\cimv2\\mdm\\dmmap', 'MDM_VPNv2_01'
$id = [Uri]::EscapeDataString($name)
$session = New-CimSession
foreach ($old in $session.EnumerateInstances($space, $class, $options)) {
    if ($old.InstanceID -eq $id) { $session.DeleteInstance($space, $old, $options) }
}
$new = [Microsoft.Management.Infrastructure.CimInstance]::new($class, $space)
$fields = @(('ParentID', './Vendor/MSFT/VPNv2', 'Key'), ('InstanceID', $id, 'Key'), ('ProfileXML', [Security.SecurityElement]::Escape($xml), 'Property'))
foreach ($field in $fields) {
    $new.CimInstanceProperties.Add([Microsoft.Management.Infrastructure.CimProperty]::Create($field[0], $field[1], 'String', $field[2]))
}
$session.CreateInstance($space, $new, $options) | Out-Null
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stay_within_their_string() {
        assert_eq!(quoted("o'neil"), "'o''neil'");
        assert_eq!(quoted("o\u{2019}neil; $(id)"), "'o\u{2019}\u{2019}neil; $(id)'");
        for quote in '\u{2018}'..='\u{201b}' {
            assert_eq!(quoted(&format!("a{quote}; reboot")), format!("'a{quote}{quote}; reboot'"));
        }
    }
}
