# installed.sh CMAKE BUILD PREFIX CC EXAMPLES: installs the library and builds a program against it, as users do.
set -eu
cmake=$1 build=$2 prefix=$3 cc=$4 examples=$5
command -v pkg-config >/dev/null || { echo "skipped: needs program pkg-config"; exit 77; }

rm -rf "$prefix"
"$cmake" --install "$build" --component shmring --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name shmring.pc)
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}
# The prefix in the file is that of the configuration; this is a trial installation.
ask() { pkg-config --define-variable=prefix="$prefix" "$@" shmring; }

$cc -Wall -Wextra -Werror "$examples/sender.c" $(ask --cflags --libs) -o "$prefix/shared"
$cc -Wall -Wextra -Werror "$examples/sender.c" $(ask --cflags) "$lib/libshmring.a" $(ask --static --libs-only-other) \
    -lm -lrt -o "$prefix/static"

# Without a channel of that name both say so.
export SHMRING_NAMESPACE=libshmring-installed
for program in shared static; do
    if LD_LIBRARY_PATH=$lib "$prefix/$program" none-such 1 2>"$prefix/said"; then
        echo "$program sent on a channel that is not there"
        exit 1
    fi
    grep -q 'no channel "none-such" is open' "$prefix/said" || { cat "$prefix/said"; exit 1; }
done

# One header, a soname with the major version, and nothing exported but the calls of the header.
test "$(find "$prefix" -name '*.h')" = "$prefix/include/shmring.h"
version=$(pkg-config --modversion shmring)
test -e "$lib/libshmring.so.${version%%.*}"
for call in $(sed -n 's/^SHMRING_API .*[ *]\(shmring_[a-z_]*\)(.*/\1/p' "$prefix/include/shmring.h"); do
    nm -D --defined-only "$lib/libshmring.so" | grep -q " T $call\$" || { echo "not exported: $call"; exit 1; }
done
if nm -D --defined-only "$lib/libshmring.so" | grep -v ' T shmring_'; then
    echo "exported, although it is internal"
    exit 1
fi
echo ok
