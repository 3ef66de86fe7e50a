"""What clients ask inside the tunnel, over IKEv2: DHCPINFORM as Windows sends it after the connect."""

import json
import sys
from pathlib import Path

from harness import case, check, setup
from labkit import network

INFORM = Path(__file__).with_name("dhcpinform.py")


def ask(world, address, interface, seconds=3):
    """What the gateway answers to a DHCPINFORM of this lease, or None."""
    argv = [sys.executable, str(INFORM), address, interface, str(seconds)]
    done = world.lab.network.exec("client", argv, check=False, timeout=seconds + 10)
    return json.loads(done.stdout) if done.returncode == 0 else None


def lease(world, client):
    inner = next(text for text in world.session_of("alice")["inner"] if "." in text)
    lines = world.lab.network.exec("client", ["ip", "-j", "address"]).stdout
    device = next(link["ifname"] for link in json.loads(lines) if any(a.get("local") == inner for a in link["addr_info"]))
    return inner, device


@setup("inside")
def _settings(config):
    config["policy"][0] |= {"suffix": "corp.example.test", "routes": ["10.99.10.0/24", "10.99.20.0/24"]}
    config["listener"][0]["inner_ipv4"] = "10.98.255.1"


@case("inside")
def dhcpinform_brings_routes_and_suffix(world):
    address, device = lease(world, world.login())
    answer = ask(world, address, device)
    check(answer, "DHCPINFORM was not answered")
    check(answer["domain"] == "corp.example.test" and answer["dns"] == [network.LAN_DNS], f"{answer}")
    check(answer["routes"] == ["10.99.10.0/24", "10.99.20.0/24"], f"{answer}")
    check(answer["yiaddr"] == "0.0.0.0" and answer["type"] == 5, f"{answer}")
    check(answer["server"] == "10.98.255.1", f"the server identifier is not the inner address of the listener: {answer}")
    told = world.gateway.json("explain", "alice")["told"]
    check(told[0].startswith("alice on computer PC7 tried to connect over IKEv2"), f"the computer is not named: {told}")


@case("inside")
def dhcpinform_for_another_lease_is_not_answered(world):
    address, device = lease(world, world.login())
    other = address.rsplit(".", 1)[0] + ".200"
    check(ask(world, f"{address},{other}", device, 1) is None, "the gateway answered for an address that is not the client's")
    world.ping()
