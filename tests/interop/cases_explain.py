"""What `evergate explain` tells an administrator of real logins that failed."""

from harness import case, check
from labkit.client import Profile


def explained(world, what):
    return world.gateway.json("explain", what)


@case("explain")
def the_story_of_a_wrong_password(world):
    """By id, by user, by address and as the last one: the same attempt, with its cause, its numbers and what to type."""
    attempt = world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    address = attempt["client"].rsplit(":", 1)[0]
    for what in (attempt["id"], "alice", "ALICE", address, "last"):
        story = explained(world, what)
        check(story["attempt"]["id"] == attempt["id"], f"{what}: another attempt, {story['attempt']['id']}")
        told = "\n".join(story["told"])
        check("Windows shows its user 691" in told and "failed in stage radius" in told, told)
        check({"691", "812"} <= {number for row in story["cases"] for number in row["numbers"]}, f"{story['cases']}")
    world.refused(Profile(password="wrong"), notify=None, stage="radius", cause="alice")
    told = "\n".join(explained(world, "last")["told"])
    check("more time" in told, f"the second try is not joined with the first: {told}")
    world.login()
    told = "\n".join(explained(world, "alice")["told"])
    check("failed" in told, "of a user the newest failed attempt is told")


@case("explain")
def numbers_need_no_gateway(world):
    for number, word in (("809", "firewall"), ("-2146885613", "revocation"), ("0x80092013", "revocation"), ("13868", "cipher")):
        check(any(word in row["title"] + row["cause"] for row in world.gateway.json("explain", number)["cases"]), number)
