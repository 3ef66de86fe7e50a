"""What goes beyond a plain login: postquantum preshared keys, EAP without a certificate of the gateway."""

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


@setup("eap_alone")
def eap_alone(config):
    config["listener"][0]["eap_only"] = True


@case("eap_alone")
def eap_tls(world):
    """Neither AUTH nor a certificate in the first answer, and AUTH made with the key of EAP in the last."""
    world.login(Profile(method="eap-tls", user="alice@example.test", eap_only="eap-tls"))
    first = next(line for line in world.last.log if line.startswith("parsed IKE_AUTH response 1"))
    check("IDr" in first and "EAP" in first and "AUTH ]" not in first and "CERT" not in first and " AUTH " not in first.split("[")[1], first)
    check(world.last.saw("authentication of 'vpn.example.test' with EAP successful"), "not by EAP", world.last.log)
    check("EAP alone as proof" in _notes(world), _notes(world))
    check(world.clients["client"].rekey_ike(), "the IKE SA cannot be rekeyed")


@case("eap_alone")
def eap_tls_with_a_ppk_that_nobody_knows_here(world):
    world.login(Profile(method="eap-tls", user="alice@example.test", eap_only="eap-tls", ppk=STRANGE))


@case("eap_alone")
def a_password_is_not_enough(world):
    outcome = world.client().connect(Profile(eap_only="eap-mschapv2"))
    check(not outcome.up, "EAP-MSCHAPv2 alone came up", outcome.log)
    check("AUTH_FAILED" in outcome.notifies, f"{outcome.notifies}", outcome.log)
    check("EAP-MSCHAPv2 proves nothing" in world.attempts()[0]["cause"], f"{world.attempts()[0]}")


@case("eap_alone")
def certificates_on_both_sides_stay(world):
    world.login(Profile(method="certificate", certificate="machine-ecdsa"))
    check(world.last.saw("authentication of 'vpn.example.test' with (RSA|ECDSA)"), "no certificate", world.last.log)


@case("ppk")
def eap_only_is_not_allowed_unless_configured(world):
    outcome = world.client().connect(Profile(method="eap-tls", user="alice@example.test", eap_only="eap-tls"))
    check(outcome.saw("parsed IKE_AUTH response 1 .* CERT"), "no certificate in the answer", outcome.log)
