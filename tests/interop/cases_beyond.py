"""What goes beyond a plain login: postquantum preshared keys."""

from pathlib import Path

from harness import case, check, setup
from labkit.client import Profile

SECRET = "ppk-of-thirty-two-bytes-and-more-0"
KNOWN, STRANGE = ("phones@example.test", SECRET), ("tablets@example.test", SECRET)
WAYS = {"eap": Profile(), "certificate": Profile(method="certificate", certificate="machine-rsa")}


def _with_ppk(config, mode):
    file = config["server"]["state_dir"] + ".ppk"
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(SECRET + "\n")
    config["ppk"] = [{"name": "phones", "id": KNOWN[0], "secret_file": file}]
    config["listener"][0]["ppk"] = mode


@setup("ppk")
def optional(config):
    _with_ppk(config, "optional")


@setup("ppk_required")
def required(config):
    _with_ppk(config, "required")


def _notes(world):
    newest = world.attempts()[0]["id"]
    return " ".join(str(entry) for entry in world.attempt(newest)["timeline"])


def _mixed(world, profile):
    """Traffic passes before and after rekeys, which build on the mixed keys."""
    client = world.login(profile)
    check("is mixed into the keys" in _notes(world), f"the record: {_notes(world)}")
    check(client.rekey_child() and client.rekey_ike(), "a rekey failed", world.last.log)
    world.ping()


def _plain(world, profile):
    world.login(profile)
    check("is mixed into the keys" not in _notes(world), f"the record: {_notes(world)}")


def _register():
    for way, profile in WAYS.items():
        mine = lambda ppk, required, p=profile: p.but(ppk=ppk, ppk_required=required)  # noqa: E731
        wrong = (KNOWN[0], "another-secret-under-the-same-name")
        for group in ("ppk", "ppk_required"):
            case(group, f"{way}_with_the_key")(lambda w, p=mine(KNOWN, "yes"): _mixed(w, p))
            case(group, f"{way}_with_the_wrong_key")(
                lambda w, p=mine(wrong, "no"): w.refused(p, notify="AUTH_FAILED", stage=("ike_auth", "eap", "radius"), cause="different secrets")
            )
        case("ppk", f"{way}_without_key")(lambda w, p=profile: _plain(w, p))
        case("ppk", f"{way}_with_an_unknown_key")(lambda w, p=mine(STRANGE, "no"): _plain(w, p))
        case("ppk", f"{way}_that_demands_an_unknown_key")(
            lambda w, p=mine(STRANGE, "yes"): w.refused(p, notify="AUTH_FAILED", stage=("ike_auth", "eap"), cause="not known here")
        )
        case("ppk_required", f"{way}_without_key")(
            lambda w, p=profile: w.refused(p, notify="AUTH_FAILED", stage="ike_auth", cause="offers no PPK")
        )
        case("ppk_required", f"{way}_with_an_unknown_key")(
            lambda w, p=mine(STRANGE, "no"): w.refused(p, notify="AUTH_FAILED", stage=("ike_auth", "eap"), cause="this gateway demands one")
        )


_register()
