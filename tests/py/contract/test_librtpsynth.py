"""The wheel of the C library librtpsynth, as its users meet it: pip, pkg-config, a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from kit.sources import checkout

NAME = "shmring-librtpsynth"
# What C programs of the original call: tests/c/librtpsynth has more.
PROGRAM = """\
#include <stdio.h>
#include <rtpjbuf.h>
#include <rtpsynth.h>

int main(void)
{
    char packet[172];
    void *synth = rsynth_ctor(8000, 20), *jitter_buffer = rtpjbuf_ctor(5);
    int bytes = rsynth_next_pkt_pa(synth, 160, 0, packet, sizeof packet, 1);
    struct rjb_udp_in_r result = rtpjbuf_udp_in(jitter_buffer, (unsigned char *)packet, bytes);
    printf("%d %d\\n", bytes, result.error);
    rtpjbuf_dtor(jitter_buffer);
    rsynth_dtor(synth);
    return 0;
}
"""


def test_the_extra_requires_it() -> None:
    wanted = [text for text in metadata.requires("shmring") or [] if text.startswith(NAME)]
    assert wanted
    assert 'extra == "librtpsynth"' in wanted[0].replace("'", '"')


@pytest.mark.check
@pytest.mark.program("cmake", "gcc", "pkg-config")
def test_it_is_built_installed_and_linked(tmp_path: Path) -> None:
    def run(*command: str | Path, **env: str) -> str:
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            env=dict(os.environ, **env),
            cwd=tmp_path,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    program = checkout() / "csrc" / "wheels" / "librtpsynth.py"
    wheel = run(sys.executable, program, tmp_path / "a folder").strip()
    place = tmp_path / "an environment"
    venv.create(place, with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python")
    run(*pip, "install", "-q", "--no-index", wheel)

    (tmp_path / "program.c").write_text(PROGRAM)
    moved = place.rename(tmp_path / "elsewhere")  # the file for pkg-config names no folder
    found = {"PKG_CONFIG_PATH": str(moved / "lib" / "pkgconfig")}
    words = run("pkg-config", "--cflags", "--libs", "librtpsynth", **found)
    run("gcc", "-Wall", "-Werror", "program.c", *words.split(), "-o", "program")
    assert run("./program") == "172 0\n"
    run("gcc", "program.c", f"-I{moved}/include", moved / "lib" / "librtpsynth.a", "-o", "alone")
    assert run("./alone") == "172 0\n"
    assert "librtpsynth" not in run("ldd", "./alone")

    moved.rename(place)
    run(*pip, "uninstall", "-qy", NAME)
    assert not list(place.rglob("*rtpsynth*"))
