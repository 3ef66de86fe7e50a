"""What people read about a laboratory that is up."""

from . import network


def guide(lab):
    """Namespaces, addresses, accounts, files and how to go on."""
    state = lab.state()
    users = "  ".join(f"{user['name']}:{user['password']}" for user in state["users"])
    call = "deploy/lab" if lab.name == "evergate" else f"deploy/lab --name {lab.name}"
    lines = [
        f"Laboratory {lab.name}: gateway {state['gateway']}, pid {state['gateway_pid']}, answers to {state['server_name']}",
        f"  gateway        {state['gateway_ipv4']}  {state['gateway_ipv6']}  and through the NAT router {state['gateway_ipv4_behind_nat']}",
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
        lines += [f"  {call} evergate sessions list", f"  {call} client connect --password wrong; {call} evergate attempts list"]
    lines += [
        f"  {call} client connect --user bob --path nat",
        f"  {call} client connect --method certificate --certificate machine-ecdsa --path ipv6",
        f"  {call} client exec -- ping {state['lan_host_ipv4']}",
        f"  {call} down",
    ]
    return "\n".join(lines)


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
