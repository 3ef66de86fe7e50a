"""What some blocks of the documentation find when they run, and what is seen of it afterwards: `sh given NAME` on a page.

Everything is as the page says it, but for the far ends: an authority for certificates instead of AD CS, an ACME server (pebble) instead of Let's Encrypt,
another host of the same machine instead of somebody's desk.
"""

from dataclasses import dataclass, field

# Debian packages by a file of theirs.
OPENSSL = {"/usr/bin/openssl": "openssl"}
ACME = {"/usr/bin/pebble": "pebble"}
CERTBOT = ACME | {"/usr/bin/certbot": "certbot"}
LEGO = ACME | {"/usr/bin/lego": "lego"}
SSH = {"/usr/sbin/sshd": "openssh-server", "/usr/bin/ssh": "openssh-client", "/usr/bin/curl": "curl"}


# Words of all of them: `!` alone ends no script.
HELPERS = r"""
never() { if "$@"; then echo "this should have failed: $*"; exit 72; fi; }
"""


@dataclass(frozen=True)
class Given:
    """Shell scripts of the page's own shell, before and after the block."""

    before: str = ""
    after: str = ""
    packages: dict = field(default_factory=dict)


# What whoever connects is shown, until it is the certificate of that file; and that alice did not notice.
SHOWN = r"""
is_shown() {
  wanted=$(openssl x509 -in "$1" -noout -serial)
  for try in $(seq 100); do
    shown=$(openssl s_client -connect 127.0.0.1:443 -servername vpn.example.com </dev/null 2>/dev/null | openssl x509 -noout -serial)
    [ "$shown" = "$wanted" ] && break
    sleep 0.3
  done
  [ "$shown" = "$wanted" ]
  evergate sessions --json | grep '"user": "alice"' >/dev/null
}
"""
# The issuing authority, its answer to the request that the page made, and what certutil gives of itself.
ISSUING = r"""
openssl req -x509 -newkey rsa:2048 -nodes -keyout issuing.key -out issuing.pem -days 30 -subj "/CN=Corp Issuing CA" 2>/dev/null
printf 'subjectAltName=DNS:vpn.example.com\nextendedKeyUsage=serverAuth\n' > template
openssl x509 -req -in vpn-new.csr -CA issuing.pem -CAkey issuing.key -days 20 -extfile template -out leaf.pem 2>/dev/null
cat leaf.pem issuing.pem > vpn-new.pem
cp /etc/evergate/ca.pem own-ca.pem
"""
# The file is read, and the certificate issued is of it.
ISSUED = r"""
cmp issuing.pem /etc/evergate/ca.pem
openssl verify -CAfile /etc/evergate/ca.pem leaf.pem
evergate check >/dev/null
"""
# An ACME server that looks at port 80 of the name, as Let's Encrypt does. What it issues is old enough to be renewed at once.
PEBBLE = r"""
if ! [ -e acme ]; then
  mkdir -p acme
  openssl req -x509 -newkey rsa:2048 -nodes -keyout acme/key.pem -out acme/cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
  cat > acme/config.json <<END
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": "acme/cert.pem", "privateKey": "acme/key.pem",
 "httpPort": 80, "tlsPort": 5001, "certificateValidityPeriod": 864000}}
END
  PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 pebble -config acme/config.json > acme/log 2>&1 &
  pebble=$!
  for try in $(seq 100); do curl -s --cacert acme/cert.pem -o /dev/null https://localhost:14000/dir && break; sleep 0.1; done
fi
"""
# Where that server is, and the answers to what certbot asks whoever starts it.
CERTBOT_ANSWERS = r"""
mkdir -p /etc/letsencrypt
cat > /etc/letsencrypt/cli.ini <<END
server = https://localhost:14000/dir
email = admin@example.com
agree-tos = true
non-interactive = true
work-dir = $PWD/acme/work
logs-dir = $PWD/acme/logs
END
export REQUESTS_CA_BUNDLE=$PWD/acme/cert.pem
"""
CERTBOT_RENEWS = r"""
is_shown /etc/letsencrypt/live/vpn.example.com/cert.pem
cp /etc/letsencrypt/live/vpn.example.com/cert.pem first.pem
# As its timer does, some weeks later.
certbot renew --force-renewal --no-random-sleep-on-renew
never cmp -s /etc/letsencrypt/live/vpn.example.com/cert.pem first.pem
is_shown /etc/letsencrypt/live/vpn.example.com/cert.pem
openssl x509 -in /etc/evergate/vpn.pem -noout -pubkey > shown.pub
openssl pkey -in /etc/evergate/vpn.key -pubout | cmp - shown.pub
"""
LEGO_ANSWERS = r"""
export LEGO_CA_CERTIFICATES=$PWD/acme/cert.pem
runs=0
# Each of its runs must have been shown by the gateway. A renewal waits up to eight minutes for Let's Encrypt's sake.
lego() {
  case " $* " in *" renew "*) set -- "$@" --no-random-sleep ;; esac
  command lego --server https://localhost:14000/dir "$@"
  runs=$((runs + 1))
  cp .lego/certificates/vpn.example.com.crt "run$runs.pem"
  is_shown "run$runs.pem"
}
"""
LEGO_RENEWED = r"""
unset -f lego
[ $runs = 2 ]
never cmp -s run1.pem run2.pem
kill $pebble
"""
# A host beside this one, whose ssh takes a key; a terminal in which somebody reads the address, opens it, and presses Ctrl-C.
DESK = r"""
mkdir -p ssh /run/sshd /etc/ssh/ssh_config.d
ssh-keygen -q -t ed25519 -N '' -f ssh/host
ssh-keygen -q -t ed25519 -N '' -f ssh/key
cat > ssh/sshd_config <<END
ListenAddress 10.91.0.1
HostKey $PWD/ssh/host
AuthorizedKeysFile $PWD/ssh/key.pub
PidFile $PWD/ssh/pid
StrictModes no
UsePAM no
SetEnv PATH=$PATH
END
cat > /etc/ssh/ssh_config <<END
Host vpn.example.com
HostName 10.91.0.1
IdentityFile $PWD/ssh/key
UserKnownHostsFile $PWD/ssh/known
StrictHostKeyChecking accept-new
END
sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
unshare --net sleep 600 >/dev/null 2>&1 &
desk=$!
for try in $(seq 100); do [ "$(readlink /proc/$desk/ns/net)" != "$(readlink /proc/$$/ns/net)" ] && break; sleep 0.02; done
ip link add desk0 type veth peer name desk1 netns $desk
ip addr add 10.91.0.1/24 dev desk0
ip link set desk0 up
nsenter -t $desk -n sh -c 'ip link set lo up; ip addr add 10.91.0.2/24 dev desk1; ip link set desk1 up'
/usr/sbin/sshd -f ssh/sshd_config
cat > ssh/terminal.py <<'END'
import os, pty, re, select, subprocess, sys, time
child, screen = pty.fork()
if child == 0:
    os.execvp("ssh", ["ssh", *sys.argv[1:]])
said, end, page = b"", time.monotonic() + 20, None
while time.monotonic() < end:
    if select.select([screen], [], [], 0.2)[0]:
        try:
            said += os.read(screen, 4096)
        except OSError:
            break
    address = re.search(rb"http://127\.0\.0\.1:8088/#key=\S+\r?\n", said)
    if address and page is None:
        page = subprocess.run(["curl", "-sS", "http://127.0.0.1:8088/"], capture_output=True, text=True).stdout
        os.write(screen, b"\x03")
ended = os.WNOHANG if time.monotonic() >= end else 0
gone = os.waitpid(child, ended)[0] == child
sys.exit(0 if gone and page and "<title>" in page else f"said {said!r}, ended {gone}, page {page!r}")
END
ssh() { nsenter -t $desk -n python3 ssh/terminal.py "$@"; }
"""
# Ctrl-C has ended it there, not only here.
LEFT = r"""
unset -f ssh
for try in $(seq 50); do ss -Hltn 'sport = 8088' | grep -q . || break; sleep 0.1; done
[ -z "$(ss -Hltn 'sport = 8088')" ]
kill $desk "$(cat ssh/pid)"
"""
# The way back takes a second instead of two minutes.
FIREWALL = r"""
cp "$SOURCES/deploy/package/evergate.nft" .
sleep() { command sleep 1; }
"""
FALLEN = r"""
unset -f sleep
nft list table inet evergate | grep 'policy drop' >/dev/null
for try in $(seq 50); do nft list table inet evergate >/dev/null 2>&1 || break; sleep 0.1; done
never nft list table inet evergate
"""
# What the Windows server of the step before says, in the shapes of its commands.
EXPORTS = r"""
cat > dump.txt <<'END'
pushd ras
add authtype type = MSCHAPv2
add authtype type = EAP
set wanports device = "WAN Miniport (SSTP)" rasinonly = enabled ddinout = disabled ddoutonly = disabled maxports = 100
set wanports device = "WAN Miniport (IKEv2)" rasinonly = enabled ddinout = enabled ddoutonly = disabled maxports = 200
popd
pushd ras ip
set addrassign method = pool
add range from = 10.98.0.1 to = 10.98.0.254
popd
pushd ras aaaa
set authentication provider = radius
add authserver name = 10.0.0.4 init-score = 30 port = 1812 timeout = 5 signature = enabled
popd
END
printf '\nVpnStatus                      : Installed\nIPAssignmentMethod             : StaticPool\nIPAddressRangeList             : {10.98.0.1 - 10.98.0.254}\n' > remoteaccess.txt
printf '\nAuthenticationType             : ExternalRadius\nRadiusServerList               : {10.0.0.4}\n' >> remoteaccess.txt
printf '\nIdleDisconnect(s)                : 300\nIkev2Ports                       : 200\nSstpPorts                        : 100\n' > server.txt
printf '\nUserAuthProtocolAccepted      : {EAP, MsChapv2}\nTunnelAuthProtocolsAdvertised : Certificates\n' > auth.txt
cat > radius.txt <<'END'

ServerName      Purpose         Score   Timeout(s)  Port    AccountingOnOffMsg MsgAuthenticator
----------      -------         -----   ----------  ----    ------------------ ----------------
10.0.0.4        Authentication   30       5         1812                       Enabled
END
cat > npsconfig.xml <<'END'
<Root><Children><Microsoft_Internet_Authentication_Service name="Microsoft Internet Authentication Service"><Children>
<RadiusProfiles name="RadiusProfiles"><Children><Staff name="Staff"><Properties>
<msNPAllowDialin>1</msNPAllowDialin><msNPAuthenticationType2>5</msNPAuthenticationType2>
</Properties></Staff></Children></RadiusProfiles>
<NetworkPolicy name="NetworkPolicy"><Children><Staff name="Staff"><Properties>
<msNPConstraint>MATCH("NAS-Port-Type=^5$")</msNPConstraint><msNPSequence>1</msNPSequence>
</Properties></Staff></Children></NetworkPolicy>
</Children></Microsoft_Internet_Authentication_Service></Children></Root>
END
"""
MIGRATED = r"""
grep -q '10.98.0.1-10.98.0.254' evergate.toml
grep -q 'max_sessions = 300' evergate.toml
grep -q 'name = "Staff"' evergate.toml
"""
# As Windows exports them: leaf, authority and key behind one password, which somebody types.
PFX = r"""
test -e /etc/evergate/evergate.toml || evergate quickstart --name vpn.example.com --no-start >/dev/null
openssl pkcs12 -export -in /etc/evergate/vpn.pem -certfile /etc/evergate/ca.pem -inkey /etc/evergate/vpn.key -passout pass:secret -out vpn.pfx
openssl x509 -in /etc/evergate/vpn.pem -noout -pubkey > before.pub
rm /etc/evergate/vpn.pem /etc/evergate/vpn.key
openssl() { command openssl "$@" -passin pass:secret; }
"""
UNPACKED = r"""
unset -f openssl
[ "$(stat -c '%a %G' /etc/evergate/vpn.key)" = "640 evergate" ]
never test -e vpn.key
openssl x509 -in /etc/evergate/vpn.pem -noout -pubkey | cmp - before.pub
openssl pkey -in /etc/evergate/vpn.key -pubout | cmp - before.pub
evergate check >/dev/null
"""
GIVEN = {
    "issuing": Given(ISSUING, ISSUED, OPENSSL),
    "issued": Given(SHOWN, "is_shown leaf.pem\ncp own-ca.pem /etc/evergate/ca.pem\n", OPENSSL),
    "certbot": Given(PEBBLE + CERTBOT_ANSWERS, CERTBOT_RENEWS, CERTBOT),
    "lego": Given(PEBBLE + LEGO_ANSWERS, LEGO_RENEWED, LEGO),
    "desk": Given(DESK, LEFT, SSH),
    "firewall": Given(FIREWALL, FALLEN),
    "exports": Given(EXPORTS, MIGRATED),
    "pfx": Given(PFX, UNPACKED, OPENSSL),
}
# All of them, and what the machine's part wants.
NEEDED = {name: package for given in GIVEN.values() for name, package in given.packages.items()} | {"/usr/sbin/ipvsadm": "ipvsadm", "/usr/bin/curl": "curl"}
