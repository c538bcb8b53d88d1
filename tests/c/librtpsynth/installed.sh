# installed.sh CMAKE BUILD PREFIX CC: installs the library and builds programs against it, as users do.
set -eu
cmake=$1 build=$2 prefix=$3 cc=$4
here=$(dirname "$0")
command -v pkg-config >/dev/null || { echo "skipped: needs program pkg-config"; exit 77; }

rm -rf "$prefix"
"$cmake" --install "$build" --component rtpsynth --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name librtpsynth.pc)
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}
# The prefix in the file is that of the configuration; this is a trial installation.
flags="$(pkg-config --define-variable=prefix="$prefix" --cflags --libs librtpsynth)"

$cc "$here/test_original_program.c" $flags -o "$prefix/shared"
LD_LIBRARY_PATH=$lib "$prefix/shared"
$cc "$here/test_original_program.c" -I"$prefix/include" "$lib/librtpsynth.a" -o "$prefix/static"
"$prefix/static"

# The generator alone brings nothing of the parser or the jitter buffer with it.
$cc "$here/test_generator.c" -I"$here/.." -I"$prefix/include" "$lib/librtpsynth.a" -o "$prefix/alone"
"$prefix/alone" >/dev/null
if nm "$prefix/alone" | grep -E 'rtpjbuf|rtp_jbuf|rtp_packet_parse|create_queue'; then
    echo "linked with the generator, although nobody asked for it"
    exit 1
fi

# Every symbol of the original under the version it had, and the soname of its ABI.
nm -D "$lib/librtpsynth.so" >"$prefix/symbols"
for symbol in \
    rsynth_ctor@@LIBRTPSYNTH_ddd0b90ff306 rsynth_dtor@@LIBRTPSYNTH_ddd0b90ff306 \
    rsynth_next_pkt@@LIBRTPSYNTH_ddd0b90ff306 rsynth_next_pkt_pa@@LIBRTPSYNTH_ddd0b90ff306 \
    rsynth_pkt_free@@LIBRTPSYNTH_ddd0b90ff306 rsynth_set_mbt@@LIBRTPSYNTH_72f7eab9e3e6 \
    rsynth_resync@@LIBRTPSYNTH_72f7eab9e3e6 rtpjbuf_ctor@@LIBRTPSYNTH_84ab5b9fdc94 \
    rtpjbuf_dtor@@LIBRTPSYNTH_84ab5b9fdc94 rtpjbuf_frame_dtor@@LIBRTPSYNTH_84ab5b9fdc94 \
    rtpjbuf_udp_in@@LIBRTPSYNTH_84ab5b9fdc94 rtpjbuf_flush@@LIBRTPSYNTH_84ab5b9fdc94 \
    rsynth_skip@@LIBRTPSYNTH_f57a9b22cc3c rsynth_set_randfunc@@LIBRTPSYNTH_b0f6a63f2f3a; do
    grep -q " $symbol\$" "$prefix/symbols" || { echo "not exported: $symbol"; exit 1; }
done
if grep -E ' [TDBR] rt(p|cp)?_' "$prefix/symbols" | grep -vE ' rtp_(packet_parse_raw|parser_strerror|profiles)@'; then
    echo "exported, although it is internal"
    exit 1
fi
test -e "$lib/librtpsynth.so.1"
echo ok
