"""strongSwan driven as its users do: by files under /etc/swanctl and the command swanctl."""

import shutil

from harness import check


def load(world, files, role="client"):
    """Loads these files, by their path below /etc/swanctl; gives what runs a command of swanctl."""
    client = world.client(role)
    folder = client.charon.folder / "swanctl"
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    argv = ["env", f"SWANCTL_DIR={folder}", "swanctl"]

    def swanctl(*command):
        done = world.lab.network.exec(role, [*argv, *command, "--uri", f"unix://{client.charon.socket}"], check=False)
        check(done.returncode == 0, f"swanctl {command[0]}: {done.stdout[-800:]} {done.stderr}")
        return done.stdout

    swanctl("--load-all")
    return swanctl
