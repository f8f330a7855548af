# shellcheck shell=sh
# Sourced by the build: puts `cmake` on PATH, which the build of zlib-ng (a dependency of the edge) needs.
# Debian's package when root or password-less sudo can install it, else the wheel from PyPI in a private folder.
if ! command -v cmake >/dev/null; then
    folder="${XDG_CACHE_HOME:-$HOME/.cache}/astrocloud/cmake"
    # Where the wheel has the program itself: it needs no Python.
    PATH="$PATH:$folder/cmake/data/bin"
    if ! command -v cmake >/dev/null && command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
        echo "Installing cmake with apt-get."
        sudo=""
        [ "$(id -u)" = 0 ] || sudo="sudo -n"
        { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends cmake; } >/dev/null || true
    fi
    if ! command -v cmake >/dev/null && command -v python3 >/dev/null; then
        echo "Installing cmake into $folder."
        python3 -m pip install -q --disable-pip-version-check --target "$folder" --upgrade cmake || true
    fi
    if ! command -v cmake >/dev/null; then
        echo "cmake is missing and could not be installed: install it with your system's packages (for example: apt-get install cmake) and try again." >&2
        exit 1
    fi
    export PATH
fi
# librdkafka's build wants a C++ compiler for a library that nothing here uses: it is left out, and a C compiler is enough.
export GNUMAKEFLAGS="LIBSUBDIRS=src"
command -v g++ >/dev/null || command -v clang++ >/dev/null || command -v c++ >/dev/null || export CXX="${CXX:-cc}"
