#!/bin/sh
# stage.sh NAME COMMAND [ARGUMENT ...]: run one stage of a longer command, and say how many seconds it took.
# If STAGES names a file, a line "seconds<tab>name" is added to it, from which .ci/run makes its table.
name=$1
shift
echo "== $name"
began=$(date +%s)
"$@"
status=$?
seconds=$(($(date +%s) - began))
[ $status = 0 ] && echo "== $name: $seconds s" || echo "== $name: failed after $seconds s"
[ -z "$STAGES" ] || printf '%s\t    %s\n' "$seconds" "$name" >>"$STAGES"
exit $status
