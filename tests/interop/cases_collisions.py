"""Both sides rekey the same SA at once (RFC 7296 section 2.8.1): each has its own request answered, and one of the two new SAs stays."""

import json

from harness import NEWER, case, check, setup
from labkit.shell import wait_until

# What the gateway sends of IKE is counted and does not reach the client; nothing else is sent meanwhile.
DEAF = """
table inet deaf {
  counter held { }
  chain in { type filter hook input priority 0; udp sport { 500, 4500 } counter name held drop; }
}
"""
# With them the gateway's request waits for the client's answer while the client's is answered.
TIMERS = {"retransmit_initial": "500ms", "retransmit_tries": 6, "liveness_interval": "0s"}

for group in ("child", "ike"):
    for version in ("", "strongswan6_"):
        other = {"child": "ike_rekey", "ike": "child_rekey"}[group]
        name = f"{version}{group}_collisions"
        setup(name)(lambda config, group=group, other=other: config.update(timers=TIMERS | {f"{group}_rekey": "10s", other: "0s"}))
        if version:
            NEWER.add(name)


def _held(world):
    """Packets of the gateway that did not reach the client."""
    found = json.loads(world.lab.network.exec("client", ["nft", "-j", "list", "counter", "inet", "deaf", "held"]).stdout)["nftables"]
    return next(item["counter"]["packets"] for item in found if "counter" in item)


def _cross(world, rekey):
    """The gateway's request is on its way when the client asks for the same."""
    world.lab.network.exec("client", ["nft", "-f", "-"], input=DEAF)
    try:
        check(wait_until(lambda: _held(world) > 0, 14, 0.05), "the gateway did not rekey")
        before = _held(world)
        rekey()
        # Its answer, or one more of the gateway's own requests and then that.
        check(wait_until(lambda: _held(world) > before, 3, 0.02), "the gateway did not answer")
    finally:
        world.lab.network.exec("client", ["nft", "delete", "table", "inet", "deaf"])


def _collide(world, what, rekey):
    client = world.login()
    session, addresses = world.session_of("alice"), client.addresses()
    timeline = lambda: [line["text"] for line in world.attempt(session["attempt"])["timeline"]]
    crossed = lambda: [text for text in timeline() if text.startswith(f"both sides rekeyed the {what} at once")]
    for _ in range(3):
        _cross(world, lambda: rekey(client))
        if wait_until(crossed, 5):
            break
    check(crossed(), f"no rekeys crossed: {timeline()}", client.log())
    settled = lambda: len(client.children()) == 1 and len([sa for sa in client.charon.sas() if sa["name"] == client.NAME]) == 1
    check(wait_until(settled, 8), f"not one SA of each kind: {client.charon.sas()}", client.log())
    check(world.session_of("alice")["id"] == session["id"] and client.addresses() == addresses, f"{world.sessions()}")
    world.ping()
    check(client.rekey_child() and client.rekey_ike(), "what stays cannot be rekeyed", client.log())
    world.ping()


def _rekeys_child(client):
    client._rekey({"child": "net"})


def _rekeys_ike(client):
    client._rekey({"ike": client.NAME})


for version in ("", "strongswan6_"):
    case(f"{version}child_collisions", "both_rekey_the_child_sa", long=True)(lambda world: _collide(world, "Child SA", _rekeys_child))
    case(f"{version}ike_collisions", "both_rekey_the_ike_sa", long=True)(lambda world: _collide(world, "IKE SA", _rekeys_ike))
