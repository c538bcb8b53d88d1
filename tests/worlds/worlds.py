"""Run the README's two commands where users run them: `make worlds`.

    python tests/worlds/worlds.py [WORLD...]

WORLD is one of WORLDS, by default all. Each gets a fresh clone of the last commit and runs `make
demo` and `make test` in it, in namespaces of its own, without CI in the environment. A world fails
if a command fails, leaves a process or shared memory behind, or skips other tests than
tests/worlds/WORLD.skips lists. Needs root, debootstrap and capsh.

    WORLDS_JOBS=2  run two worlds at a time
    UPDATE=1       write the lists of skipped tests instead of comparing them

All of it lies in build/worlds. A Debian is made once, and pip's downloads are kept. The logs in a
world's folder show what its commands printed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

WORK = Path("build/worlds").resolve()
LISTS = Path("tests/worlds").resolve()
# A stage of a world that takes longer hangs.
STAGE_LIMIT_S = 3600
PACKAGES = "python3,python3-venv,python3-dev,gcc,make,git,ca-certificates"
PROGRAMS = ("debootstrap", "capsh", "setpriv", "unshare", "git")
BIN = "/usr/local/bin:/usr/bin:/bin"
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class World(NamedTuple):
    """A system, and who works in it."""

    kind: str
    """What enter.sh makes of it."""
    suite: str
    """The Debian; empty: this system."""
    home: str
    path: str
    clone: str
    """The clone's folder in the home folder."""


WORLDS = {
    "container": World("container", "", "/root", BIN, "shmring"),
    "bookworm": World("user", "bookworm", "/home/dev", BIN, "Prüf stand/shmring"),
    "trixie": World("root", "trixie", "/root", SBIN, "shmring"),
    "here": World("here", "", "", "", "shmring"),
}


class WorldError(Exception):
    """A world cannot be made, or a command in it failed."""


# --- how this system reaches the archives --------------------------------------------------------

# A Debian has these as they are here, and what they name.
SETTINGS = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/usr/local/share/ca-certificates"),
    *("/etc/pip.conf", "/etc/xdg/pip"),
)
# Of make, of these tests, and of CI.
OUR_OWN = re.compile(r"CI|MAKE.*|MFLAGS|VIRTUAL_ENV|PYTEST_.*|SHMRING_.*|UPDATE|WORLDS.*|STAGES")
CARRIED = re.compile(r"PIP_.*|.*_proxy|.*_PROXY|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE")


def carried_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if CARRIED.fullmatch(name)}


def carried_paths() -> list[str]:
    """Return the files that tell how to reach the package index, and those that they name."""
    pip = [Path("/etc/pip.conf"), *Path("/etc/xdg/pip").glob("*"), *pip_folder().glob("*")]
    texts = [file.read_text() for file in pip if file.is_file()] + [*carried_variables().values()]
    named = [
        path
        for text in texts
        for path in re.findall(r"(?<![\w/.-])(?:file://)?(/[\w.+-][^\s,'\"]*)", text)
    ]
    # The files of an index lie beside its folder `simple`.
    named = [os.path.normpath(path).removesuffix("/simple") for path in named]
    found = sorted({path for path in (*SETTINGS, *named) if os.path.exists(path)})
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]


def pip_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pip"


def debian_mirror() -> list[str]:
    """Return the archive from which this system installs its packages, if it is a Debian's."""
    if shutil.which("apt-get") is None:
        return []
    command = ["apt-get", "indextargets", "--format", "$(LABEL) $(COMPONENT) $(REPO_URI)"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split()[2] for line in lines if line.startswith("Debian main ")][:1]


# --- a world -------------------------------------------------------------------------------------


class Run:
    """One run of a world."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.world = WORLDS[name]
        self.folder = WORK / name
        self.root = self.folder / "root"
        self.home = self.folder / "home"
        # pip uses no cache of somebody else.
        self.cache = WORK / "pip-cache" / ("user" if self.world.kind == "user" else "root")
        self.report: list[str] = []

    def __call__(self) -> bool:
        """Make the world and run its commands. Return whether all is well."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with (self.folder / "lock").open("w") as lock:
                lock_alone(lock)
                self.make()
                for target in ("demo", "test"):
                    with self.stage(f"make {target}"):
                        self.make_target(target)
                self.compare()
        except WorldError as error:
            self.say(f"failed: {error}")
            self.report.append(str(error).partition("\n")[0])
            return False
        return True

    def say(self, text: str) -> None:
        print(f"{self.name}: {text}", flush=True)

    @contextmanager
    def stage(self, what: str) -> Iterator[None]:
        """Say how long a stage took, and the stages that its command names."""
        began = time.monotonic()
        yield
        line = f"{what} {time.monotonic() - began:.0f} s"
        log = self.log(what)
        text = log.read_text(errors="replace") if log.exists() else ""
        parts = re.findall(r"^== (.*: \d+ s)$", text, re.MULTILINE)
        self.say(f"{line} ({', '.join(parts)})" if parts else line)
        self.report.append(line)

    def log(self, what: str) -> Path:
        return self.folder / f"{what}.log"

    def make(self) -> None:
        if self.world.suite and not self.root.exists():
            with self.stage("debootstrap"):
                self.make_debian(self.world.suite)
        self.root.mkdir(exist_ok=True)
        with self.stage("git clone"):
            self.make_home()

    def make_debian(self, suite: str) -> None:
        making = self.folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        options = ["--variant=minbase", f"--include={PACKAGES}"]
        self.run("debootstrap", ["debootstrap", *options, suite, str(making), *debian_mirror()])
        if self.world.kind == "user":
            self.run("useradd", ["chroot", str(making), "useradd", "--uid=1000", "dev"])
        making.rename(self.root)

    def make_home(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        clone = self.home / self.world.clone
        self.home.mkdir(mode=0o700)
        clone.parent.mkdir(parents=True, exist_ok=True)
        self.run("git clone", ["git", "clone", "-q", ".", str(clone)])
        if pip_folder().is_dir() and self.world.kind != "here":
            shutil.copytree(pip_folder(), self.home / ".config" / "pip")
        self.cache.mkdir(parents=True, exist_ok=True)
        if self.world.kind == "user":
            self.run("chown", ["chown", "-R", "1000:1000", str(self.home), str(self.cache)])

    def make_target(self, target: str) -> None:
        """Run `make TARGET` in the clone."""
        world = self.world
        home = world.home or str(self.home)
        cache = "/var/cache/pip" if world.suite else str(self.cache)
        places = [str(self.root), str(self.home), home, str(self.cache), cache]
        carried = carried_paths() if world.suite else []
        enter = ["bash", str(LISTS / "enter.sh"), world.kind, *places]
        variables = {"PIP_CACHE_DIR": cache, "SHMRING_TEST_SKIPS": f"{home}/skips"}
        self.run(
            f"make {target}",
            [*enter, f"{home}/{world.clone}", f"make {target}", *carried],
            {**self.environment(home), **variables},
        )

    def environment(self, home: str) -> dict[str, str]:
        """Return what the commands see: nothing of this make, of tests, of CI."""
        if self.world.kind == "here":
            bin_folder = os.path.join(os.getcwd(), ".venv/bin")
            path = [place for place in os.environ["PATH"].split(":") if place != bin_folder]
            kept = {k: v for k, v in os.environ.items() if not OUR_OWN.fullmatch(k)}
            return {**kept, "PATH": ":".join(path)}
        user = "dev" if self.world.kind == "user" else "root"
        who = {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", "TERM": "dumb"}
        return {**who, "PATH": self.world.path, **carried_variables()}

    def run(self, what: str, command: list[str], variables: dict[str, str] | None = None) -> None:
        """Run a command. Its processes and mounts end with it, and it ends with this process."""
        spaces = ["unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child"]
        with self.log(what).open("w") as output:
            try:
                done = subprocess.run(
                    ["setpriv", "--pdeathsig", "KILL", *spaces, *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=variables,
                    start_new_session=True,  # no terminal
                    timeout=STAGE_LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise WorldError(f"{what} did not end within {STAGE_LIMIT_S} s") from None
        if done.returncode != 0:
            tail = "\n".join(self.log(what).read_text(errors="replace").splitlines()[-60:])
            where = self.log(what).relative_to(WORK.parent.parent)
            raise WorldError(f"{what} ended with {done.returncode}, see {where}\n{tail}")

    def compare(self) -> None:
        """Compare what was skipped with the list of this world."""
        written, listed = self.home / "skips", LISTS / f"{self.name}.skips"
        if not written.exists():
            raise WorldError("make test wrote no list of what it skipped")
        if os.environ.get("UPDATE"):
            shutil.copyfile(written, listed)
            self.say(f"wrote tests/worlds/{listed.name}")
        others = differences(written, listed)
        for line in others:
            self.say(line)
        if others:
            raise WorldError(f"it skips other tests than {listed.name} lists (UPDATE=1 writes it)")
        self.report.append(last_line(self.log("make test")))


def lock_alone(file: TextIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise WorldError("this world runs already") from None


def read_skips(file: Path) -> Counter[str]:
    """Read lines NUMBER<TAB>REASON."""
    lines = file.read_text().splitlines() if file.exists() else []
    pairs = [line.split("\t", 1) for line in lines if line and not line.startswith("#")]
    return Counter({reason: int(number) for number, reason in pairs})


def differences(written: Path, listed: Path) -> list[str]:
    """Return a line for each reason whose number of skipped tests is not the expected one."""
    found, expected = read_skips(written), read_skips(listed)
    return [
        f"{reason}: {found[reason]} skipped, {expected[reason]} expected"
        for reason in sorted(found.keys() | expected.keys())
        if found[reason] != expected[reason]
    ]


def last_line(log: Path) -> str:
    """Return the last line of pytest without its frame."""
    found = re.findall(
        r"^(?:=+ )?(\d+ (?:passed|failed).*? in .*?)(?: =+)?$", log.read_text(), re.MULTILINE
    )
    return found[-1] if found else "no line of pytest"


def main(names: list[str]) -> None:
    names = names or list(WORLDS)
    if unknown := [name for name in names if name not in WORLDS]:
        sys.exit(f"no such world: {', '.join(unknown)}; there are {', '.join(WORLDS)}")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        sys.exit(f"make worlds needs root{''.join(f', {name}' for name in missing)}")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing outlives this process
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, check=True)
    if changed.stdout:
        print("worlds: the clones have the last commit, without later changes", flush=True)
    runs = [Run(name) for name in names]
    with ThreadPoolExecutor(int(os.environ.get("WORLDS_JOBS") or 1)) as pool:
        good = list(pool.map(lambda run: run(), runs))
    for world, is_good in zip(runs, good, strict=True):
        print(f"{'passed' if is_good else 'FAILED'}  {world.name:9}  {'; '.join(world.report)}")
    if not all(good):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
