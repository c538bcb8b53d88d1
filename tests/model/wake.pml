/*
 * wake.pml: the three ways to sleep. Somebody makes something available (a commit, a packet, room),
 * somebody else sleeps until there is something; no wake-up may be lost.
 *
 *   BELL 1   tx_queue_arm_bell, tx_queue_pending, a wait on an eventfd; tx_producer_must_ring, the
 *            write, tx_producer_rang (T6)
 *   BELL 0   the futex pattern: rx_reader_wait, rx_writer_publish (X5); tx_producer_wait_room,
 *            wake_producers (T7)
 *
 * Here memory is not sequentially consistent, because that is what the full fences are for: each
 * process has a store buffer of one entry, which reaches memory at any time later. An exchange and a
 * fence wait until it is empty; a load does not. (More is not modelled: loads are never early.)
 *
 * A run defines WAKERS, SLEEPERS, ITEMS (of each waker), FIRST (those of the first), CRASHES (wakers killed in the middle), HALTS
 * (producers stopped in the middle, for ever). When a producer is killed between taking the bell and
 * ringing, the worker sees its connection hang up. Nobody sees that one is stopped there: what it made
 * may wait, what others make must not. When a worker is killed there, its successor wakes everybody
 * first (rx_writer_init, take_over).
 */
#ifndef BELL
#define BELL 1
#endif
#ifndef WAKERS
#define WAKERS 2
#endif
#ifndef SLEEPERS
#define SLEEPERS 1
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef FIRST
#define FIRST ITEMS
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef HALTS
#define HALTS 0
#endif

#define PARTIES (WAKERS + SLEEPERS)

byte made[WAKERS];        /* what each waker has made available, in memory */
byte wanted;              /* bell_armed; data_wanted, room_wanted */
byte event;               /* data_event, room_event */
byte rings;               /* the eventfd's counter */
bit asleep[SLEEPERS];     /* inside FUTEX_WAIT */
byte hangups;
byte seen[SLEEPERS];      /* how much of what was made each sleeper has noticed */
bit dies[WAKERS];
bit ended[WAKERS];
#if BELL
bit halts[WAKERS];
byte through[WAKERS];     /* items that a waker is through with: rung where necessary */
byte noticed[WAKERS];     /* items of each waker that the sleeper has noticed */

/* bell_armed: number of the arming * 4 + SHM_BELL_* */
#define AWAKE 0
#define ARMED 1
#define RINGING 2
#define STATE(word) ((word) % 4)
#define NUMBER(word) ((word) - STATE(word))
#define LAST (WAKERS - 1)
#endif

/* Store buffers: 0 empty, 1 wanted, 2 made. */
byte buffered[PARTIES];
byte value[PARTIES];

#define FENCE(p) (buffered[p] == 0)
#define TOTAL (made[0] + (WAKERS > 1 -> made[WAKERS - 1] : 0))

inline store(p, what, v)
{
    atomic { FENCE(p) -> buffered[p] = what; value[p] = v }
}

inline commit_buffer()
{
    if
    :: buffered[p] == 1 -> wanted = value[p]
    :: buffered[p] == 2 -> made[p] = value[p]
    fi;
    buffered[p] = 0;
    value[p] = 0;
    p = 0
}

proctype Memory()
{
    byte p;
end:
    do
    :: d_step { buffered[0] > 0 -> p = 0; commit_buffer() }
    :: d_step { buffered[1] > 0 -> p = 1; commit_buffer() }
#if WAKERS + SLEEPERS > 2
    :: d_step { buffered[2] > 0 -> p = 2; commit_buffer() }
#endif
    od
}

#if BELL
/* rt_cas */
inline swap(was, new)
{
    atomic {
        FENCE(me) ->
        if
        :: wanted == was -> wanted = new
        :: else
        fi
    }
}

/* tx_producer_must_ring and what follows. found: local. */
inline wake()
{
    found = wanted;
    if
    :: STATE(found) == AWAKE -> skip
#ifdef MUTANT_TAKE_ALONE
    :: STATE(found) == ARMED ->
        swap(found, NUMBER(found) + AWAKE);
        rings++
#else
    :: STATE(found) != AWAKE ->
        if
        :: STATE(found) == ARMED -> swap(found, NUMBER(found) + RINGING)
        :: else
        fi;
#ifdef MUTANT_RELY_ON_RINGER
        if
        :: STATE(found) == RINGING -> goto made_it
        :: else
        fi;
#endif
#ifdef MUTANT_RANG_FIRST
        swap(NUMBER(found) + RINGING, NUMBER(found) + AWAKE);
        rings++
#else
        rings++; /* write */
        swap(NUMBER(found) + RINGING, NUMBER(found) + AWAKE) /* tx_producer_rang */
#endif
#endif
    fi
}
#else
inline wake()
{
    if
    :: wanted == 0 -> skip
    :: wanted == 1 ->
        atomic { /* rt_exchange */
            FENCE(me) ->
            if
            :: wanted == 1 -> wanted = 0
            :: else -> goto made_it
            fi
        }
        event++;
        atomic { asleep[0] = 0; asleep[SLEEPERS - 1] = 0 } /* FUTEX_WAKE all */
    fi
}
#endif

#define MINE (me == 0 -> FIRST : ITEMS)

proctype Waker(byte me)
{
    byte n;
#if BELL
    byte found;
#endif
serving:
    {
        do
        :: n == MINE -> break
        :: n < MINE ->
            store(me, 2, n + 1);
#ifndef MUTANT_WAKER_NO_FENCE
            FENCE(me);
#endif
            wake();
#if BELL
made_it:    atomic { n++; found = 0; through[me] = n }
#else
made_it:    n++
#endif
        od
#if BELL
    } unless { dies[me] || halts[me] }
end_halted:
    !halts[me];
#else
    } unless { dies[me] }
#endif
    if
    :: dies[me] ->
        FENCE(me); /* what it stored reaches memory before the kernel tells of its death */
#if BELL
        hangups++
#else
#ifndef MUTANT_SILENT_SUCCESSOR
        event++;
        atomic { asleep[0] = 0; asleep[SLEEPERS - 1] = 0 }
#endif
        atomic { dies[me] = 0; n = made[me]; goto serving }
#endif
    :: else
    fi;
    atomic { n = 0; ended[me] = 1 }
}

#define SEEN seen[me - WAKERS]

proctype Sleeper(byte me)
{
    byte was; /* BELL: number of the arming, as it stands in the word */
end:
    do
#if BELL
    :: atomic {
           SEEN != TOTAL -> SEEN = TOTAL;
           noticed[0] = made[0];
           noticed[LAST] = made[LAST]
       }
#else
    :: atomic { SEEN != TOTAL -> SEEN = TOTAL }
#endif
    :: SEEN == TOTAL ->
#if BELL
#ifndef MUTANT_NO_NUMBER
        was = was + 4;
#endif
        store(me, 1, was + ARMED); /* tx_queue_arm_bell */
#ifndef MUTANT_SLEEPER_NO_FENCE
        FENCE(me);
#endif
#ifndef MUTANT_NO_SECOND_LOOK
        if
        :: SEEN != TOTAL -> skip
        :: SEEN == TOTAL ->
#endif
end_asleep: atomic { rings > 0 || hangups > 0 -> rings = 0; hangups = 0 }
#ifndef MUTANT_NO_SECOND_LOOK
        fi;
#endif
        store(me, 1, was + AWAKE) /* tx_queue_disarm_bell */
#else
#ifndef MUTANT_EVENT_LATE
        was = event;
#endif
        store(me, 1, 1);
#ifndef MUTANT_SLEEPER_NO_FENCE
        FENCE(me);
#endif
        if
        :: SEEN != TOTAL -> skip
        :: SEEN == TOTAL ->
#ifdef MUTANT_EVENT_LATE
            was = event;
#endif
            /* FUTEX_WAIT: compares and sleeps in one step */
            if
            :: atomic { event == was -> asleep[me - WAKERS] = 1 }
end_asleep:     asleep[me - WAKERS] == 0
            :: event != was -> skip
            fi
        fi;
        was = 0
#endif
    od
}

/* All wakers are alike: it is always the first. */
proctype Fate()
{
    byte crashes = CRASHES;
#if HALTS
    do
    :: crashes > 0 && !dies[0] && !ended[0] -> dies[0] = 1; crashes--
    :: !halts[0] && !ended[0] -> halts[0] = 1; break
    :: break
    od
#else
    do
    :: crashes > 0 && !dies[0] && !ended[0] -> dies[0] = 1; crashes--
    :: break
    od
#endif
}

proctype Judge()
{
    timeout ->
#if BELL
    assert(ended[0] || halts[0]);
    assert(ended[LAST] || halts[LAST]);
    assert(noticed[0] >= through[0] && noticed[LAST] >= through[LAST]);
    assert(halts[0] || seen[0] == TOTAL) /* whoever sleeps has missed nothing */
#else
    assert(ended[0] && ended[WAKERS - 1]);
    assert(seen[0] == TOTAL && seen[SLEEPERS - 1] == TOTAL)
#endif
}

init {
    atomic {
        run Memory();
        run Waker(0);
#if WAKERS > 1
        run Waker(1);
#endif
        run Sleeper(WAKERS);
#if SLEEPERS > 1
        run Sleeper(WAKERS + 1);
#endif
        run Fate();
        run Judge()
    }
}
