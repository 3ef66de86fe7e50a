"""The chart's pod as podman runs it: what a kubelet takes from the objects that `helm template` makes.

  helm template vpn deploy/helm/evergate .. | pod.py FOLDER CLAIMS TLS SECRETS

FOLDER gets the volumes of the pod, and these files:
  arguments            of `podman run`, with a zero behind each: user, rights, environment, volumes
  command              behind the image, likewise
  enter                what a command in the container begins with, likewise
  image, network       the image; `host`, or `own` where the pod has a network of its own
  grace                seconds that a stop may take
  startup, live, ready, stop    commands of the probes and of preStop, with a zero behind each word
CLAIMS holds the folders of the persistent volume claims; TLS and SECRETS are folders with the files of the two secrets.
"""

import os
import subprocess
import sys
from pathlib import Path

import yaml

# What containerd and CRI-O give to any user but root: capabilities that are permitted to the first program, none that it could pass on. podman passes
# them on (ambient), which would do away with what is looked at here; this program of every Debian takes that back before it starts the gateway.
AS_KUBELET = ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"]


def owned(folder, group, mode):
    """A folder of root and of fsGroup; what is made in it is that group's."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, 0, group)
    folder.chmod(mode)
    return folder


def projected(folder, files, group, mode):
    """The files of a ConfigMap or Secret."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        os.chown(folder / name, 0, group)
        (folder / name).chmod(mode)
    return folder


class Pod:
    def __init__(self, objects, folder, claims, secrets):
        self.objects, self.folder, self.claims, self.secrets = objects, folder, claims, secrets
        (self.spec,) = (found["spec"]["template"]["spec"] for found in objects if found["kind"] == "Deployment")
        (self.container,) = self.spec["containers"]
        self.group = self.spec["securityContext"]["fsGroup"]

    def source(self, volume):
        """What is mounted of a volume."""
        folder = self.folder / "volumes" / volume["name"]
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "configMap" in volume:
            (found,) = (one for one in self.objects if one["kind"] == "ConfigMap" and one["metadata"]["name"] == volume["configMap"]["name"])
            return projected(folder, {name: text.encode() for name, text in found["data"].items()}, self.group, 0o644)
        if "secret" in volume:
            files = {path.name: path.read_bytes() for path in self.secrets[volume["name"]].iterdir()}
            return projected(folder, files, self.group, volume["secret"].get("defaultMode", 0o644))
        if "persistentVolumeClaim" in volume:
            return owned(self.claims / volume["persistentVolumeClaim"]["claimName"], self.group, 0o2775)
        folder.mkdir(parents=True)
        if volume["emptyDir"].get("medium") == "Memory":
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        return owned(folder, self.group, 0o2777)

    def rights(self):
        """User, groups and capabilities."""
        context = {**self.spec["securityContext"], **self.container["securityContext"]}
        user, group = context["runAsUser"], context.get("runAsGroup", 0)
        if context.get("runAsNonRoot") and user == 0:
            sys.exit("pod.py: a kubelet does not start this: runAsNonRoot, and runAsUser 0")
        yield from (f"--user={user}:{group}", f"--group-add={self.group}")
        # podman's other words for `RuntimeDefault` are its default; and what it mounts over /run and /tmp a kubelet does not.
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, context
        if context.get("readOnlyRootFilesystem"):
            yield from ("--read-only", "--read-only-tmpfs=false")
        if not context.get("allowPrivilegeEscalation", True):
            yield "--security-opt=no-new-privileges"
        yield from (f"--cap-drop={name}" for name in context["capabilities"]["drop"])
        yield from (f"--cap-add={name}" for name in context["capabilities"]["add"])

    def arguments(self):
        yield from self.rights()
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        for mount in self.container["volumeMounts"]:
            right = ":ro" if mount.get("readOnly") else ""
            yield f"--volume={self.source(volumes[mount['name']])}:{mount['mountPath']}{right}"
        yield from (f"--env={entry['name']}={entry['value']}" for entry in self.container.get("env", ()))
        yield from (f"--sysctl={one['name']}={one['value']}" for one in self.spec["securityContext"].get("sysctls", ()))
        if self.container["securityContext"]["runAsUser"]:
            yield f"--entrypoint={AS_KUBELET[0]}"

    def write(self):
        enter = AS_KUBELET if self.container["securityContext"]["runAsUser"] else []
        run = [*enter[1:], "evergate", "run"] if enter else ["run"]
        lists = {
            "arguments": self.arguments(), "command": run, "enter": enter, "startup": self.container["startupProbe"]["exec"]["command"],
            "live": self.container["livenessProbe"]["exec"]["command"], "ready": self.container["readinessProbe"]["exec"]["command"],
            "stop": self.container["lifecycle"]["preStop"]["exec"]["command"],
        }
        for name, words in lists.items():
            (self.folder / name).write_text("".join(f"{word}\0" for word in words))
        texts = {
            "image": self.container["image"], "network": "host" if self.spec.get("hostNetwork") else "own",
            "grace": self.spec["terminationGracePeriodSeconds"],
        }
        for name, text in texts.items():
            (self.folder / name).write_text(f"{text}\n")


folder, claims, tls, secrets = map(Path, sys.argv[1:])
folder.mkdir()
Pod([found for found in yaml.safe_load_all(sys.stdin) if found], folder, claims, {"tls": tls, "secrets": secrets}).write()
