"""What people read about a laboratory that is up."""

from . import network
from .sstp import inner_addresses, tls_name


def guide(lab):
    """Namespaces, addresses, accounts, files and how to go on."""
    state = lab.live()
    users = "  ".join(f"{user['name']}:{user['password']}" for user in state["users"])
    call = "deploy/lab" if lab.name == "evergate" else f"deploy/lab --name {lab.name}"
    lines = [
        f"Laboratory {lab.name}: gateway {state['gateway']}, pid {state['gateway_pid']}, answers to {state['server_name']}",
        f"  gateway        {state['gateway_ipv4']}  {state['gateway_ipv6']}  and through the NAT router {state['gateway_ipv4_behind_nat']}",
        *_tunnels(state),
        f"  LAN host       {state['lan_host_ipv4']}  {state['lan_host_ipv6']}  HTTP on port {state['lan_http_port']}",
        f"  RADIUS         {state['radius_ipv4']}  accounting in {state['radius_accounting_file']}",
        f"  namespaces     {'  '.join(lab.namespace(role) for role in network.ROLES)}",
        f"  users          {users}",
        f"  CA             {state['ca_file']}",
        f"  certificates   {state['pki_folder']}: alice (user), machine-rsa, machine-ecdsa, machine-expired, other-machine (foreign CA), ..",
    ]
    if state["gateway"] == "evergate":
        lines += [f"  configuration  {state['config_file']}", f"  log            {state['gateway_log_file']}"]
    lines += ["", "Go on with", f"  {call} client status | disconnect | rekey | download 50 | ping {state['lan_host_ipv6']}"]
    if state["gateway"] == "evergate":
        lines += [
            f"  {call} sstp status | disconnect | connect --tls 1.2 | download 50 | ping {state['lan_host_ipv6']}",
            f"  {call} evergate sessions list",
            f"  {call} client connect --password wrong; {call} sstp connect --password wrong; {call} evergate attempts list",
        ]
    lines += [
        f"  {call} client connect --user bob --path nat",
        f"  {call} client connect --method certificate --certificate machine-ecdsa --path ipv6",
        f"  {call} client exec -- ping {state['lan_host_ipv4']}",
        f"  {call} down",
    ]
    return "\n".join(lines)


def _tunnels(state):
    """Who is connected at the moment, one line for each kind of tunnel."""
    clients = [("IKEv2 client", "client", "UDP 500 and 4500")]
    if state["gateway"] == "evergate":
        clients.append(("SSTP client", "sstp_client", f"TCP {state['sstp_port']}"))
    for title, key, ports in clients:
        addresses = state[f"{key}_addresses"]
        what = f"up with {', '.join(addresses)}" if addresses else "not connected"
        yield f"  {title:<13}  {what}  in {state[f'{key}_netns']}, pid {state[f'{key}_pid']}, {ports}"


def sstp_report(session):
    """An SSTP call in lines."""
    tls, ipv4 = session["tls"], session["ipv4"]
    return "\n".join(
        [
            f"up with {', '.join(inner_addresses(session))}; DNS {', '.join(ipv4['dns']) or 'none'}",
            f"SSTP      {tls_name(session)}  {tls['cipher']}  {tls['group']}; crypto binding {session['binding']}",
        ]
    )


def client_report(client):
    """The client's IKE SA and Child SAs in lines, or None when nothing is up."""
    sa = client.session()
    if sa is None:
        return None
    lines = [
        f"up with {', '.join(client.addresses()) or 'no inner address'}; DNS {', '.join(client.dns()) or 'none'}",
        f"IKE SA    {sa['local-host']}:{sa['local-port']} - {sa['remote-host']}:{sa['remote-port']}  {_suite(sa)}  since {sa.get('established', '?')} s",
    ]
    for child in client.children():
        selectors = f"{','.join(child.get('local-ts', []))} - {','.join(child.get('remote-ts', []))}"
        lines.append(
            f"Child SA  {_suite(child)}  {selectors}  received {child.get('bytes-in', 0)}, sent {child.get('bytes-out', 0)} octets"
        )
    return "\n".join(lines)


def _suite(sa):
    cipher = "-".join(filter(None, (sa.get("encr-alg"), sa.get("encr-keysize"))))
    return "/".join(filter(None, (cipher, sa.get("integ-alg"), sa.get("prf-alg"), sa.get("dh-group"))))
