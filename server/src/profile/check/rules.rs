//! What Windows asks of ProfileXML beyond its syntax.
use super::said::{Names, Routes, Wrong};
use super::windows::{Named as _, child, is_true, said};
use roxmltree::Node;

/// The order in which Windows 11 takes the elements of a profile that comes through Intune.
const PROFILE: [&str; 19] = [
    "RememberCredentials",
    "AlwaysOn",
    "DeviceTunnel",
    "DnsSuffix",
    "TrustedNetworkDetection",
    "DisableAdvancedOptionsEditButton",
    "DisableDisconnectButton",
    "NativeProfile",
    "Route",
    "TrafficFilter",
    "DomainNameInformation",
    "RegisterDNS",
    "NetworkOutageTime",
    "IPv4InterfaceMetric",
    "IPv6InterfaceMetric",
    "UseRasCredentials",
    "DataEncryption",
    "PrivateNetwork",
    "DisableIKEv2Fragmentation",
];
const NATIVE: [&str; 6] =
    ["Servers", "RoutingPolicyType", "NativeProtocolType", "Authentication", "CryptographySuite", "DisableClassBasedDefaultRoute"];

/// A profile as far as it has been read.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) profile: Node<'a, 'a>,
    pub(super) native: Node<'a, 'a>,
    pub(super) device: bool,
    pub(super) routes: &'a Routes,
    pub(super) names: &'a Names,
}

pub(super) fn apply(read: Read<'_>, wrong: &mut Vec<Wrong>) {
    intune(read, wrong);
    device(read, wrong);
    match read.routes {
        Routes::These(_) => split(read, wrong),
        // For machines it is wrong altogether.
        _ if !read.device => forced(read, wrong),
        _ => {}
    }
    filters(read, wrong);
}

/// What a profile needs that Intune hands to Windows 11; scripts hand out others as well.
fn intune(Read { profile, native, .. }: Read<'_>, wrong: &mut Vec<Wrong>) {
    let mut problems: Vec<_> =
        [(profile, &PROFILE[..]), (native, &NATIVE)].into_iter().filter_map(|(node, order)| misplaced(node, order)).collect();
    let authentication = child(native, "Authentication");
    if authentication.is_some_and(|node| said(node, "UserMethod").eq_ignore_ascii_case("eap") && child(node, "MachineMethod").is_none()) {
        problems.push("Authentication has no MachineMethod".into());
    }
    let servers = said(native, "Servers");
    if !servers.is_empty() && !servers.contains(';') {
        problems.push("Servers names the gateway once".into());
    }
    if !problems.is_empty() {
        let problem = format!("Windows 11 does not take it from Intune: {}", problems.join("; "));
        wrong.push(Wrong::doubt(problem, "take order and elements as `evergate profile windows` writes them"));
    }
}

/// The first element that comes too late.
fn misplaced(node: Node<'_, '_>, order: &[&str]) -> Option<String> {
    let places = node.children().filter_map(|one| order.iter().position(|name| one.has_tag_name_like(name)));
    let places: Vec<_> = places.collect();
    let late = places.windows(2).find(|pair| pair[0] > pair[1])?;
    Some(format!("{} stands behind {}", order[late[1]], order[late[0]]))
}

fn device(Read { profile, native, device, .. }: Read<'_>, wrong: &mut Vec<Wrong>) {
    if !device {
        return;
    }
    let protocol = said(native, "NativeProtocolType");
    if !protocol.eq_ignore_ascii_case("ikev2") {
        let problem = format!("Windows makes no device tunnel with NativeProtocolType {protocol:?}");
        wrong.push(Wrong::new(problem, "write IKEv2 into NativeProtocolType"));
    }
    if child(profile, "TrafficFilter").is_some() {
        let problem = "with a TrafficFilter, Windows before version 2004 keeps machines from being managed through their tunnel";
        wrong.push(Wrong::doubt(problem, "take the filters out, and write a Route to each server that machines need"));
    }
}

fn split(Read { profile, native, routes, names, .. }: Read<'_>, wrong: &mut Vec<Wrong>) {
    let Routes::These(routes) = routes else { return };
    let bare = is_true(native, "DisableClassBasedDefaultRoute");
    if routes.is_empty() && bare {
        let problem = "DisableClassBasedDefaultRoute is true and there is no Route: nothing goes into the tunnel";
        wrong.push(Wrong::new(problem, "add a Route for each network behind the gateway"));
    } else if routes.is_empty() {
        let problem = "it splits the tunnel and names no Route: nothing but its own network goes in";
        wrong.push(Wrong::doubt(problem, "add a Route for each network behind the gateway"));
    }
    let outside = |server: &&std::net::IpAddr| bare && !routes.is_empty() && !routes.iter().any(|route| route.contains(**server));
    for (domain, servers) in &names.rules {
        for server in servers.iter().filter(outside) {
            let problem =
                format!("it asks {server} for names of {domain}, and no Route leads there: they are asked for outside of the tunnel");
            wrong.push(Wrong::doubt(problem, format!("add a Route to {server}")));
        }
    }
    if child(profile, "Proxy").is_some() {
        let remedy = "write ForceTunnel into RoutingPolicyType, or take Proxy out";
        wrong.push(Wrong::doubt("Windows uses the Proxy of a profile only where everything goes into the tunnel", remedy));
    }
}

fn forced(Read { profile, native, .. }: Read<'_>, wrong: &mut Vec<Wrong>) {
    if is_true(native, "DisableClassBasedDefaultRoute") {
        let problem = "Windows takes no DisableClassBasedDefaultRoute where everything goes into the tunnel";
        wrong.push(Wrong::new(problem, "take it out, or write SplitTunnel into RoutingPolicyType"));
    }
    if profile.children().any(|node| node.has_tag_name_like("Route") && !is_true(node, "ExclusionRoute")) {
        let problem = "where everything goes into the tunnel, Windows takes no Route but those with ExclusionRoute";
        wrong.push(Wrong::new(problem, "take the Route elements out, or write SplitTunnel into RoutingPolicyType"));
    }
}

fn filters(Read { profile, routes, .. }: Read<'_>, wrong: &mut Vec<Wrong>) {
    let filters: Vec<_> = profile.children().filter(|node| node.has_tag_name_like("TrafficFilter")).collect();
    let has_ports = |node: &&Node<'_, '_>| ["LocalPortRanges", "RemotePortRanges"].iter().any(|name| !said(**node, name).is_empty());
    for filter in filters.iter().filter(has_ports) {
        let protocol = said(*filter, "Protocol");
        if !matches!(protocol, "6" | "17") {
            let problem = format!("a TrafficFilter has ports and the Protocol {protocol:?}, which has none");
            wrong.push(Wrong::new(problem, "write 6 (TCP) or 17 (UDP) into its Protocol"));
        }
    }
    let routed = matches!(routes, Routes::These(routes) if routes.iter().any(|route| route.start.is_ipv6()));
    let named = filters.iter().any(|node| ["LocalAddressRanges", "RemoteAddressRanges"].iter().any(|name| said(*node, name).contains(':')));
    if !filters.is_empty() && (routed || named) {
        let problem = "TrafficFilter and IPv6 do not go together on Windows: what the filters are to let through is lost";
        wrong.push(Wrong::doubt(
            problem,
            "take the filters out and filter at the gateway (filters in [[policy]]), or have IPv4 alone in the tunnel",
        ));
    }
}
