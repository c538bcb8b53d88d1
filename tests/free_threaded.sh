#!/usr/bin/env bash
# The tests of channels in a free-threaded build of Python, without its lock: `make free-threaded`.
#
#     tests/free_threaded.sh [PYTHON]
#
# Without PYTHON, 3.13 is compiled from the source package of Debian 13, once. That needs apt-get, a compiler and the
# headers of OpenSSL, zlib and libffi.
set -euo pipefail
work=$PWD/build/free-threaded
python=${1:-$work/python/bin/python3.13t}
mkdir -p "$work"

compile_python() {
    local lists=$work/lists
    mkdir -p "$lists/partial"
    printf 'Types: deb-src\n%s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' \
        "$(grep -hm 1 '^URIs:' /etc/apt/sources.list.d/debian.sources)" \
        /usr/share/keyrings/debian-archive-keyring.gpg >"$work/trixie.sources"
    local apt=(apt-get -qq -oAPT::Sandbox::User=root -oDir::Etc::SourceParts=- -oDir::State::lists="$lists"
               -oDir::Etc::SourceList="$work/trixie.sources")
    "${apt[@]}" update
    (cd "$work" && "${apt[@]}" --download-only source python3.13 && tar xf python3.13_*.orig.tar.xz)
    mkdir -p "$work/compiled"
    (cd "$work/compiled" && "$work"/Python-3.13.*/configure -q --disable-gil --prefix="$work/python" \
        --disable-test-modules CFLAGS=-O1 && make -s -j "$(nproc)" && make -s install) >"$work/python.log" 2>&1
}

# cffi knows free-threaded builds and refuses 3.13 only because it is not tested there.
install_cffi_for_3_13() {
    pip download -q --no-deps --no-binary cffi -d "$work" 'cffi>=2.1' # by an ordinary Python: this one is refused
    rm -rf "$work"/cffi-*/
    tar xzf "$work"/cffi-*.tar.gz -C "$work"
    sed -i 's/^if FREE_THREADED_BUILD and .*/if False:/' "$work"/cffi-*/setup.py
    "$@" install -q "$work"/cffi-*/
}

[ -x "$(command -v "$python")" ] || compile_python
"$python" -m venv --clear "$work/venv"
bin=$work/venv/bin
"$bin/pip" install -q scikit-build-core cmake ninja
if "$bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 14))'; then
    install_cffi_for_3_13 "$bin/pip"
    # Later ones have no wheels for 3.13t.
    "$bin/pip" install -q 'hypothesis<6.130' 'numpy<2.4'
else
    "$bin/pip" install -q 'cffi>=2.1' hypothesis numpy
fi
"$bin/pip" install -q posix_ipc psutil pytest pytest-timeout pytest-xdist
"$bin/pip" install -q --no-build-isolation --no-deps --config-settings build-dir="$work/pip" .
rm -rf "$work/away" && mkdir "$work/away" && cp -r tests pyproject.toml "$work/away"
cd "$work/away"
PYTHON_GIL=0 exec "$bin/python" -P -m pytest -q --check -n "$(nproc)" tests/py/unit/channel tests/py/unit/test_without_gil.py
