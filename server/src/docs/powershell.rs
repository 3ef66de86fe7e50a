//! PowerShell that somebody may copy: read by a grammar of the language, its commands and their parameters compared with a table of facts.
use super::blocks;
use std::collections::{BTreeMap, BTreeSet};
use tree_sitter::{Node, Parser};

/// Cmdlets that pages use, each with the parameters that Microsoft's reference has for it (as far as they are of use here), and programs.
const POWERSHELL: &[(&str, &str)] = &[
    ("Add-CATemplate", "Name Force"),
    (
        "Add-VpnConnection",
        "Name ServerAddress TunnelType AuthenticationMethod EncryptionLevel SplitTunneling AllUserConnection RememberCredential EapConfigXmlStream DnsSuffix \
         MachineCertificateEKUFilter MachineCertificateIssuerFilter PassThru Force",
    ),
    ("Add-VpnConnectionRoute", "ConnectionName DestinationPrefix AllUserConnection PassThru"),
    ("Export-NpsConfiguration", "Path"),
    ("Export-Certificate", "Cert FilePath"),
    ("Export-PfxCertificate", "Cert FilePath Password ChainOption"),
    ("ForEach-Object", "Process"),
    ("Format-List", "Property"),
    ("Get-ADUser", "Identity Properties"),
    ("Get-ChildItem", "Path"),
    ("Get-CimInstance", "ClassName Namespace"),
    ("Get-Content", "Path"),
    ("Get-PfxCertificate", "FilePath"),
    ("Get-RemoteAccess", ""),
    ("Get-RemoteAccessRadius", "Purpose"),
    ("Get-Service", "Name ErrorAction"),
    ("Get-VpnAuthProtocol", ""),
    ("Get-VpnConnection", "Name AllUserConnection ErrorAction"),
    ("Get-VpnServerConfiguration", "TunnelType"),
    ("Get-WinEvent", "FilterHashtable MaxEvents ErrorAction"),
    ("Import-Certificate", "FilePath CertStoreLocation"),
    ("Join-Path", "Path ChildPath"),
    ("New-CimSession", ""),
    ("New-EapConfiguration", "Tls Peap UserCertificate VerifyServerIdentity TunneledEapAuthMethod"),
    ("New-ItemProperty", "Path Name PropertyType Value Force"),
    ("New-NpsRadiusClient", "Name Address SharedSecret AuthAttributeRequired"),
    ("New-Object", "TypeName"),
    ("Out-Null", ""),
    ("Out-File", "FilePath Width Encoding"),
    ("Read-Host", "AsSecureString"),
    ("Remove-ItemProperty", "Path Name"),
    ("Remove-VpnConnection", "Name AllUserConnection PassThru Force Confirm"),
    ("Resolve-DnsName", "Name"),
    ("Restart-Service", "Name Force"),
    ("Select-Object", "First ExpandProperty"),
    ("Set-Content", "Path Encoding"),
    (
        "Set-VpnConnection",
        "Name ServerAddress TunnelType AuthenticationMethod EncryptionLevel EapConfigXmlStream AllUserConnection MachineCertificateIssuerFilter \
         MachineCertificateEKUFilter RememberCredential PassThru Force Confirm",
    ),
    (
        "Set-VpnConnectionIPsecConfiguration",
        "ConnectionName AllUserConnection AuthenticationTransformConstants CipherTransformConstants EncryptionMethod IntegrityCheckMethod DHGroup PfsGroup RevertToDefault \
         PassThru Force",
    ),
    ("Test-NetConnection", "ComputerName Port"),
    ("Unlock-ADAccount", "Identity"),
    ("Where-Object", "FilterScript EQ In"),
    ("certreq", "config submit attrib"),
    ("certutil", "config verify urlfetch enterprise viewstore addstore dspublish encode pulse f"),
    ("netsh", ""),
    ("powershell", "ExecutionPolicy File"),
    ("rasdial", ""),
];

/// A command with the parameters that it is given.
struct Command {
    name: String,
    parameters: Vec<String>,
}

/// The commands of a script, or the line that is none of the language. An unquoted `-a.b` is none either: PowerShell makes two words of it, also for programs.
fn commands(script: &str) -> Result<Vec<Command>, String> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).map_err(|error| error.to_string())?;
    let tree = parser.parse(script, None).ok_or("the grammar gives up")?;
    let mut found = Vec::new();
    collect(tree.root_node(), script, &mut found)?;
    Ok(found)
}

fn collect(node: Node<'_>, script: &str, found: &mut Vec<Command>) -> Result<(), String> {
    if node.is_error() || node.is_missing() {
        let line = script.lines().nth(node.start_position().row).unwrap_or_default();
        return Err(format!("no PowerShell from column {} on: {line}", node.start_position().column + 1));
    }
    let text = |node: Node<'_>| script.get(node.byte_range()).unwrap_or_default().to_owned();
    let children: Vec<_> = node.children(&mut node.walk()).collect();
    if node.kind() == "command" {
        let named = children.iter().find(|child| child.kind() == "command_name");
        found.extend(named.map(|&name| Command { name: text(name), parameters: Vec::new() }));
    }
    if node.kind() == "command_parameter" {
        // Behind a command in brackets those of the outer one go on.
        let owner = owner(node).map(text);
        let command = found.iter_mut().rev().find(|command| Some(&command.name) == owner.as_ref());
        let parameter = text(node);
        if let Some(command) = command {
            command.parameters.push(parameter.trim_start_matches('-').trim_end_matches(':').to_owned());
        }
    }
    children.into_iter().try_for_each(|child| collect(child, script, found))
}

/// The name of the command that a parameter belongs to.
fn owner(parameter: Node<'_>) -> Option<Node<'_>> {
    let mut at = parameter;
    while at.kind() != "command" {
        at = at.parent()?;
    }
    at.children(&mut at.walk()).find(|child| child.kind() == "command_name")
}

/// How many commands a script has, or what is wrong with one.
pub(crate) fn read(script: &str) -> Result<usize, String> {
    let known: BTreeMap<_, BTreeSet<_>> = POWERSHELL
        .iter()
        .map(|(name, parameters)| (name.to_ascii_lowercase(), parameters.split_whitespace().map(str::to_ascii_lowercase).collect()))
        .collect();
    let commands = commands(script)?;
    for command in &commands {
        let name = &command.name;
        let parameters = known.get(&name.to_ascii_lowercase()).ok_or_else(|| format!("{name} is not in the table POWERSHELL"))?;
        if let Some(odd) = command.parameters.iter().find(|parameter| !parameters.contains(&parameter.to_ascii_lowercase())) {
            return Err(format!("{name} has no -{odd} in the table POWERSHELL"));
        }
    }
    Ok(commands.len())
}

#[test]
fn docs_powershell_is_powershell() {
    let found: usize = blocks::all("powershell")
        .iter()
        .map(|block| read(&block.text).unwrap_or_else(|problem| panic!("{}: {problem}\n{}", block.place, block.text)))
        .sum();
    assert!(found > 60, "{found}");
}

#[test]
fn docs_powershell_that_is_wrong_is_found() {
    for (line, problem) in [
        ("Set-VpnConection -Name x", "Set-VpnConection is not"),
        ("netsh -x", "netsh has no -x"),
        ("$a = Get-VpnConnection -Nam x", "no -Nam"),
        ("Get-ChildItem | Where-Object { Get-Servic x }", "Get-Servic is not"),
        ("(Get-VpnConnection -Name (Get-Content -Pat x)).Guid", "Get-Content has no -Pat"),
        ("certutil -ca.cert issuing.cer", "no PowerShell from column"),
        ("Get-Service -Name 'x", "no PowerShell from column"),
        ("foreach ($a in 1) { rasdial", "no PowerShell from column"),
    ] {
        let said = read(line);
        assert!(said.as_ref().is_err_and(|said| said.contains(problem)), "{line}: {said:?}");
    }
    assert_eq!(read("$a = Get-VpnConnection -Name x\ncertutil \"-ca.cert\" issuing.cer | Out-File -Width 4 b"), Ok(3));
}
