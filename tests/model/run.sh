#!/usr/bin/env bash
# Checks the models of the rings with spin. Prints a line per run: states, depth, errors, time. Exit 0:
# every run came out as it must; 1: a property was violated, a run did not finish, or (--mutants) a
# deliberate mistake was not noticed; 77: spin or gcc is missing.
#
#   run.sh              the runs below, each less than a minute and 4 GB
#   run.sh --mutants    and the deliberate mistakes
#   run.sh --deep       and larger runs, up to ten minutes and 12 GB each
#   run.sh NAME...      only runs whose name begins so
set -u
cd "$(dirname "$0")"

for tool in spin gcc; do
    command -v $tool >/dev/null || { echo "skipped: $tool is not installed (apt-get install $tool)"; exit 77; }
done

mutants=0 deep=0 only=()
for arg in "$@"; do
    case $arg in
    --mutants) mutants=1 ;;
    --deep) deep=1 ;;
    -*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    *) only+=("$arg") ;;
    esac
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
seconds=900 megabytes=4000

wanted() {
    [ ${#only[@]} -eq 0 ] && return 0
    for prefix in "${only[@]}"; do [[ $1 == "$prefix"* ]] && return 0; done
    return 1
}

# build MODEL DEFINE...: a verifier in $work/pan. No partial order reduction: its rules do not know of
# "unless" and would gain little here, where nearly every statement touches what others see.
build() {
    local model=$1
    shift
    (cd "$work" && rm -f pan* ./*.trail &&
        spin -a "$@" "$OLDPWD/$model.pml" >spin.log 2>&1 &&
        gcc -w -O2 -DSAFETY -DCOLLAPSE -DNOREDUCE -DMEMLIM=$megabytes -o pan pan.c) || {
        cat "$work/spin.log"
        return 1
    }
}

# run NAME MODEL DEFINE...: must explore everything and find nothing.
run() {
    local name=$1 model=$2
    shift 2
    wanted "$name" || return 0
    build "$model" "$@" || { failed=1; return; }
    (cd "$work" && timeout $seconds ./pan -m1000000 -w26 -n >out 2>&1)
    local states depth errors elapsed
    states=$(awk '/states, stored/ { print $1 }' "$work/out")
    depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' "$work/out")
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$work/out")
    elapsed=$(sed -n 's/pan: elapsed time \([0-9.]*\).*/\1/p' "$work/out" | head -n 1)
    printf '%-22s states %10s  depth %4s  errors %s  %s s\n' "$name" "${states:--}" "${depth:--}" \
        "${errors:--}" "${elapsed:->$seconds}"
    if [ "${errors:-1}" != 0 ] || grep -q -e 'max search depth too small' -e 'out of memory' "$work/out"; then
        failed=1
        grep -e '^pan:' -e 'too small' -e 'memory' "$work/out" | head -n 5
        if [ -f "$work/$model.pml.trail" ]; then
            echo "  the way there (spin -t -p $* tests/model/$model.pml shows it with variables):"
            (cd "$work" && spin -t -p -T "$@" "$OLDPWD/$model.pml" 2>/dev/null) | grep 'proc' | tail -n 40
        fi
    fi
}

# mutant NAME MODEL DEFINE...: must find something.
mutant() {
    [ $mutants -eq 1 ] || return 0
    local name=$1 model=$2
    shift 2
    wanted "$name" || return 0
    build "$model" "$@" "-DMUTANT_$name" || { failed=1; return; }
    (cd "$work" && timeout $seconds ./pan -m1000000 -w26 -n >out 2>&1)
    local what
    what=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' "$work/out" | head -n 1)
    if [ -n "$what" ]; then
        printf 'mutant %-18s noticed: %.80s\n' "$name" "$what"
    else
        printf 'mutant %-18s NOT NOTICED\n' "$name"
        failed=1
    fi
}

# --- the tx ring -------------------------------------------------------------------------------
small="-DPACKETS_1=1 -DPACKETS_2=1 -DUNITS=4"
race="$small -DP_CRASHES=1"
lap="-DUNITS=4 -DPACKETS_2=1 -DMAX_NEED=1 -DP_CRASHES=0"
lap_long="-DUNITS=4 -DPACKETS_2=3 -DMAX_NEED=1 -DP_CRASHES=0" # enough packets for the tail to go round
deaths="$small -DP_CRASHES=2"
takeover="-DPRODUCERS=1 -DP_CRASHES=1 -DW_CRASHES=2 -DABORTS=1 -DCAPACITY=1"
cancel="-DPRODUCERS=1 -DP_CRASHES=0 -DW_CRASHES=1 -DCANCELS=1 -DUNITS=4 -DMAX_NEED=1"
reuse="-DPRODUCERS=1 -DP_CRASHES=1 -DUNTAKES=1 -DPURGES=1 -DREUSE=1"
replace="-DQUEUED=1 -DREPLACES=1 -DPRODUCERS=1 -DPACKETS_1=1 -DP_CRASHES=1 -DW_CRASHES=1 -DMAX_NEED=1 -DUNITS=4"
long="-DPRODUCERS=1 -DPACKETS_1=1 -DMAX_NEED=3 -DUNITS=8 -DSTART=6 -DRESERVE=2 -DP_CRASHES=1 -DW_CRASHES=1"
run tx-race tx $race
run tx-lap tx $lap
run tx-deaths tx $deaths
run tx-takeover tx $takeover
run tx-cancel tx $cancel
run tx-reuse tx $reuse
run tx-reuse-takeover tx -DPRODUCERS=1 -DP_CRASHES=1 -DW_CRASHES=1 -DREUSE=1 -DUNITS=4 -DMAX_NEED=1
run tx-untake-takeover tx -DPRODUCERS=1 -DP_CRASHES=0 -DW_CRASHES=1 -DUNTAKES=1 -DPURGES=1 -DUNITS=4
run tx-long tx $long
run tx-replace tx $replace
mutant STALE_INTENT tx $race
mutant LAP tx $lap_long
mutant SKIP_LIVE tx $race
mutant OVERTAKE tx -DPACKETS_2=1 -DP_CRASHES=0 -DUNITS=5
mutant RESEND tx $takeover
mutant COUNT tx $takeover
mutant READ_BACK tx $takeover
mutant SWAP_ANY tx $cancel
mutant HEAD_FIRST tx $cancel
mutant NO_MARK tx $replace
mutant UNMARK_FIRST tx $replace
mutant FREE_MARKED tx $replace

# --- relocation inside it ------------------------------------------------------------------------
move="-DPRODUCERS=1 -DP_CRASHES=0 -DW_CRASHES=1 -DCANCELS=1 -DMOVES=1 -DMAX_NEED=1 -DRESERVE=2 -DPACKETS_1=1"
move_twice="-DPRODUCERS=1 -DPACKETS_1=1 -DP_CRASHES=0 -DW_CRASHES=2 -DMOVES=1 -DMAX_NEED=1 -DRESERVE=2"
move_two_deaths="-DQUEUED=1 -DLAZY=1 -DPACKETS_1=1 -DPACKETS_2=1 -DP_CRASHES=2 -DMOVES=1 -DUNITS=7 -DSTART=0"
move_far="-DQUEUED=1 -DFAR=1 -DPRODUCERS=1 -DPACKETS_1=3 -DP_CRASHES=0 -DW_CRASHES=2 -DMOVES=4 -DMAX_NEED=1 -DRESERVE=2 -DUNITS=4"
move_far_cancel="-DQUEUED=1 -DFAR=1 -DPRODUCERS=1 -DPACKETS_1=1 -DP_CRASHES=0 -DW_CRASHES=1 -DCANCELS=2 -DMOVES=2 -DMAX_NEED=1 -DRESERVE=2 -DUNITS=4"
move_deaths="-DPACKETS_1=2 -DPACKETS_2=1 -DP_CRASHES=2 -DMOVES=1 -DUNITS=7 -DSTART=0 -DRESERVE=2"
run relocate-cancel tx $move
run relocate-twice tx $move_twice
run relocate-deaths tx $move_two_deaths
run relocate-far tx $move_far
run relocate-far-cancel tx $move_far_cancel
mutant NO_REPAIR tx $move
mutant BLIND_MOVE tx $move
mutant BLIND_END tx $move
mutant COPY_OF_CANCELLED tx $move_far_cancel
mutant UNSAID_ABORT tx $move_far_cancel
mutant MOVED_COUNT tx $move
mutant COUNT_FINISHED_MOVE tx $move_far
mutant WITHDRAW_FIRST tx $move_twice
mutant DROP_MOVE tx $move_far
mutant KEEP_ANNOUNCED tx $move_far
mutant FIRST_SLOT tx $move_two_deaths

# --- the rx ring ---------------------------------------------------------------------------------
padding="-DUNITS=7 -DSTART=5 -DMAX_NEED=3 -DPUTS=5"
run rx-broadcast rx -DPUTS=6
run rx-padding rx $padding
run rx-wait rx -DPUTS=5 -DWAIT=1
run rx-takeover rx -DPUTS=4 -DBATCH=4 -DW_CRASHES=2
run rx-shared rx -DPUTS=3 -DBROADCAST=0 -DSHARED=2 -DR_CRASHES=1
run rx-shared-takeover rx -DPUTS=3 -DBATCH=3 -DBROADCAST=0 -DSHARED=1 -DR_CRASHES=1 -DW_CRASHES=1
run rx-mixed rx -DPUTS=3 -DSHARED=1 -DR_CRASHES=1
mutant NO_RECHECK rx
mutant PADDING_ALONE rx $padding
mutant FLOOR_LATE rx
mutant FLOOR_AHEAD rx -DPUTS=3 -DBATCH=3 -DW_CRASHES=1
mutant BLIND_TAKE rx -DBROADCAST=0 -DSHARED=2

# --- sleeping and waking -------------------------------------------------------------------------
halt="-DHALTS=1 -DFIRST=1"
run wake-bell wake -DCRASHES=1 -DFIRST=1
run wake-bell-halted wake $halt
run wake-futex wake -DBELL=0 -DCRASHES=1
run wake-futex-readers wake -DBELL=0 -DWAKERS=1 -DSLEEPERS=2 -DCRASHES=1
mutant WAKER_NO_FENCE wake
mutant SLEEPER_NO_FENCE wake
mutant NO_SECOND_LOOK wake
mutant TAKE_ALONE wake $halt
mutant RELY_ON_RINGER wake $halt
mutant RANG_FIRST wake $halt
mutant NO_NUMBER wake $halt
mutant EVENT_LATE wake -DBELL=0
mutant SILENT_SUCCESSOR wake -DBELL=0 -DWAKERS=1 -DCRASHES=1

# --- the boxes of a Netflux link ------------------------------------------------------------------
out_box="-DSLOTS=2 -DPUTS=2 -DLOOKS=2 -DCRASHES=1"
out_alone="-DSLOTS=1 -DPUTS=4 -DLOOKS=3 -DCRASHES=2"
in_box="-DSLOTS=0 -DPUTS=6 -DLOOKS=3 -DCRASHES=2"
run netflux-out netflux $out_box
run netflux-out-alone netflux $out_alone
run netflux-in netflux $in_box
mutant NO_RECHECK netflux $out_alone
mutant NO_TICKET netflux $out_alone
mutant NAMED_HALF netflux $out_alone
mutant OLDER_HALF netflux $out_alone
mutant BLIND_STORE netflux $out_box
mutant UNMARKED netflux $in_box

if [ $deep -eq 1 ]; then
    seconds=900 megabytes=12000
    run deep-netflux-out netflux -DSLOTS=2 -DPUTS=2 -DLOOKS=1 -DCRASHES=2
    run deep-tx-race tx -DP_CRASHES=1
    run deep-tx-lap tx $lap_long
    run deep-tx-three tx -DPRODUCERS=3 -DPACKETS_1=1 -DPACKETS_2=1 -DP_CRASHES=1 -DMAX_NEED=1 -DUNITS=4
    run deep-relocate-deaths tx $move_deaths
    mutant LEADS tx $move_deaths
    run deep-wake-bell wake -DCRASHES=1
    run deep-wake-halted wake -DHALTS=1
    run deep-rx-shared rx -DPUTS=4 -DBROADCAST=0 -DSHARED=2 -DR_CRASHES=1
    run deep-rx-mixed rx -DPUTS=3 -DSHARED=1 -DR_CRASHES=1 -DW_CRASHES=1
    run deep-rx-both rx -DPUTS=3 -DSHARED=2
fi
exit $failed
