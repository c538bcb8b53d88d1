/*
 * tx.pml: the tx ring as csrc/shm/tx_ring.c (producers, canceller) and csrc/shm/tx_queue.c, tx_release.c, tx_move.c, tx_takeover.c (worker)
 * play it. run.sh says with -D how many of each there are and who may die.
 *
 * One statement is one access to shared memory; what only touches locals is folded into the statement
 * before it. A crash may fall between any two statements: Fate marks the victim, and the "unless" around
 * its body takes it away before it makes another step. That is all the kernel promises too: whoever
 * sees a process as dead sees it do nothing more.
 *
 * Ghosts (own, span, sent, verdict, committed, cancelled, uncertain) are looked at by assertions only.
 *
 * A run defines:
 *   UNITS    length of the ring         RESERVE   units producers leave free
 *   START    place of the first record  MAX_NEED  longest record, in units
 *   PRODUCERS, PACKETS_1 ..  packets of each           P_CRASHES, W_CRASHES  how many may die
 *   CANCELS  attempts to cancel         MOVES     relocations allowed
 *   ABORTS   1: a producer may give a claim up        CAPACITY  packets, 0 none
 *   SIZES    0: records of any length; 1: as many units as the producer's slot says
 *   UNTAKES  times the kernel has no room for a packet that was taken
 *   PURGES   packets that wait and are given up all together
 *   REUSE    dead producers whose slot another process gets
 *   QUEUED   1: a packet of one unit was taken in before, from a process that is gone, and waits for its time
 *   LAZY     1: until all producers have ended, the worker does nothing but move. They die over claims only
 *   FAR      1: the packet of QUEUED is not sent before all producers have ended
 *   REPLACES packets that take the place of another one that waits
 */

#ifndef UNITS
#define UNITS 5
#endif
#ifndef RESERVE
#define RESERVE 1
#endif
#ifndef START
#define START 3
#endif
#ifndef MAX_NEED
#define MAX_NEED 2
#endif
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef PACKETS_1
#define PACKETS_1 2
#endif
#ifndef PACKETS_2
#define PACKETS_2 2
#endif
#ifndef PACKETS_3
#define PACKETS_3 1
#endif
#ifndef P_CRASHES
#define P_CRASHES 1
#endif
#ifndef W_CRASHES
#define W_CRASHES 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef ABORTS
#define ABORTS 0
#endif
#ifndef SIZES
#define SIZES 0
#endif
#ifndef UNTAKES
#define UNTAKES 0
#endif
#ifndef PURGES
#define PURGES 0
#endif
#ifndef REUSE
#define REUSE 0
#endif
#ifndef CAPACITY
#define CAPACITY 0
#endif
#ifndef QUEUED
#define QUEUED 0
#endif
#ifndef REPLACES
#define REPLACES 0
#endif
#ifndef LAZY
#define LAZY 0
#endif
#ifndef FAR
#define FAR 0
#endif
#if PRODUCERS < 3
#undef PACKETS_3
#define PACKETS_3 0
#endif
#if PRODUCERS < 2
#undef PACKETS_2
#define PACKETS_2 0
#endif

#define NONE 255

/* shm_record_state_t */
#define EMPTY 0
#define CLAIMED 1
#define COMMITTED 2
#define SENDING 3
#define DONE 4
#define CANCELLED 5
#define PAD 6
#define ABORTED 7

#define SLOTS 4      /* slot 0 is the worker's own, for relocations */
#define SEEN (PRODUCERS + 1)
#define TOTAL (PACKETS_1 + PACKETS_2 + PACKETS_3 + QUEUED + REUSE) /* who takes a slot over begins anew */

typedef word_t {
    byte state;
    byte seq;
    byte units;
    byte from_seq;   /* tail_seq: of the tail when a moved record's place was claimed */
#if REPLACES
    bit replaces;    /* SHM_TX_REPLACES: from_seq is the sequence of the packet whose place it takes */
    bit replaced;    /* SHM_TX_REPLACED */
#endif
    bit moved;       /* SHM_TX_RELOCATED */
    bit orphan       /* SHM_TX_ORPHAN */
};

#define LIVE 0
#define KNOWN_DEAD 1 /* shm_producer_t.owner == OWNER_DEAD */
#define FREE 2       /* owner == 0 */

typedef slot_t {
    byte seq = NONE; /* intent; NONE: idle */
    byte place;
    byte units;
    byte owner;
    bit dead         /* the process is gone, whether or not anybody has noticed */
};

word_t ring[UNITS];
slot_t slot[SLOTS];
byte tail_seq, tail_place = START;
byte head = START;
byte read_seq, read_place = START;
byte freeing_to;     /* 1 + place; 0: not freeing */
byte finished;

byte own[UNITS];     /* who holds a unit: 0 free, else 1 + slot */
byte span[UNITS];    /* length of the claim that begins here */
byte sent[TOTAL];
byte verdict[TOTAL];
bit committed[TOTAL];
bit cancelled[TOTAL];
bit uncertain[TOTAL];
bit purged[TOTAL];
byte due_in[SLOTS];  /* of each producer nothing older than this may be handed out any more */
byte reuses;
#if REPLACES
byte replaces;
byte heir = NONE;    /* the packet whose claim had cancelled another one */
byte heir_of;
#endif
byte over;           /* producers that have ended */
bit worker_dies;
hidden byte k, e, n_seq, n_waiting;

/* Where nobody can look at the worker's record or take it away in between, several of its steps are one:
 * a producer reads nothing of the worker's but the head. */
#if W_CRASHES || CANCELS || REPLACES
#define TOGETHER
#else
#define TOGETHER atomic
#endif

/* What nobody looks at any more is set to 0, so that states that differ in nothing else are one. */
#define WITHDRAW(i) slot[i].seq = NONE; slot[i].place = 0; slot[i].units = 0

#define UNFINISHED(at) (ring[at].state == EMPTY || ring[at].state == CLAIMED)
#define USED(from, to) ((to + UNITS - from) % UNITS)
#define AHEAD(place, by) ((place + (by)) % UNITS)
#define TAIL_IS(s, p) (tail_seq == s && tail_place == p)

#if CAPACITY
#define CAPACITY_LEFT(seq, done) (seq - done < CAPACITY)
#else
#define CAPACITY_LEFT(seq, done) true
#endif

/* Ghost: the claimed units were free and zero, and are the claimant's from now on. */
inline take_units(id)
{
    span[t_place] = take;
    k = 0;
    do
    :: k < take ->
        assert(own[AHEAD(t_place, k)] == 0);
        assert(ring[AHEAD(t_place, k)].state == EMPTY);
        own[AHEAD(t_place, k)] = id;
        k++
    :: else -> break
    od
}

inline set_word(at, st, sq, un, mv, orph)
{
    ring[at].state = st;
    ring[at].seq = sq;
    ring[at].units = un;
    ring[at].from_seq = 0;
#if REPLACES
    ring[at].replaces = 0;
    ring[at].replaced = 0;
#endif
    ring[at].moved = mv;
    ring[at].orphan = orph
}

/* ---- producer: tx_producer_claim, tx_producer_commit, tx_producer_abort ---------------------- */

#define ROOM(h) (USED(h, t_place) + take + RESERVE <= UNITS)

#if REPLACES
/* tx_producer_replace: offer, the swap of cancel_at, and what follows. Which packet is to be replaced is any
 * number before its own. The walk to it is not modelled: it is found at once, or not at all. */
inline replace()
{
    d_step {
        replaces++;
        old = 0
    }
    do
    :: old + 1 < t_seq -> old++
    :: break
    od;
    atomic { /* the walk */
        k = 0;
        old_at = NONE;
        do
        :: k == UNITS -> break
        :: k < UNITS ->
            if
            :: ring[k].state == COMMITTED && ring[k].seq == old -> old_at = k; old_moved = ring[k].moved
            :: else
            fi;
            k++
        od
    }
    if
    :: old_at == NONE -> skip
    :: old_at != NONE ->
        d_step { ring[t_place].from_seq = old; ring[t_place].replaces = 1 } /* offer */
        d_step {
            if
            :: ring[old_at].state == COMMITTED && ring[old_at].seq == old && ring[old_at].moved == old_moved ->
                ring[old_at].state = CANCELLED;
#ifndef MUTANT_NO_MARK
                ring[old_at].replaced = 1;
#endif
                cancelled[old] = 1;
                heir = t_seq;
                heir_of = old
            :: else -> old_at = NONE
            fi
        }
    fi;
    atomic {
        assert(own[t_place] == 1 + me && ring[t_place].state == CLAIMED);
        if
        :: old_at == NONE -> set_word(t_place, ABORTED, t_seq, need, 0, 0)
        :: else -> set_word(t_place, COMMITTED, t_seq, need, 0, 0); committed[t_seq] = 1
        fi;
        old = 0;
        old_at = 0;
        old_moved = 0
    }
}
#endif

proctype Producer(byte me; byte packets)
{
    byte t_seq, t_place, need, pad, take;
#if REPLACES
    byte old, old_at;
    bit old_moved;
#endif
    byte head_seen, finished_seen, left_seq = NONE, left_place, n;
life:
    {
        do
        :: atomic { n == packets -> break }
        :: atomic {
            n < packets ->
            if
            :: SIZES == 0 -> need = 1
            :: SIZES == 0 && MAX_NEED > 1 -> need = 2
            :: SIZES == 0 && MAX_NEED > 2 -> need = 3
            :: SIZES == 1 -> need = me
            fi;
load:       t_seq = tail_seq; /* T8 */
            t_place = tail_place;
measure:    pad = (need <= UNITS - t_place -> 0 : UNITS - t_place);
            take = pad + need;
            if
#ifdef MUTANT_LAP
            :: left_seq != NONE && ROOM(head_seen) -> goto claim
#else
            :: t_seq == left_seq && t_place == left_place && ROOM(head_seen) &&
                CAPACITY_LEFT(t_seq, finished_seen) -> goto claim
#endif
            :: else
            fi
            }
            atomic { /* T5 */
                head_seen = head;
                finished_seen = finished;
                if
                :: ROOM(head_seen) && CAPACITY_LEFT(t_seq, finished_seen) -> goto claim
                :: else
                fi
            }
            atomic {
                if
                :: !TAIL_IS(t_seq, t_place) ->
                    t_seq = tail_seq;
                    t_place = tail_place;
                    goto measure
                :: else
                fi
            }
#ifndef MUTANT_STALE_INTENT
            atomic { WITHDRAW(me) } /* -ENOBUFS */
#endif
            atomic { /* tx_producer_wait_room */
                (head != head_seen || finished != finished_seen);
                goto load
            }
claim:      slot[me].units = take;
            atomic { slot[me].seq = t_seq; slot[me].place = t_place }
            atomic { /* T1 */
                if
                :: TAIL_IS(t_seq, t_place) ->
                    take_units(1 + me);
                    tail_seq = t_seq + 1;
                    tail_place = AHEAD(t_place, take);
                    take = 0;
                    if
                    :: n + 1 < packets -> left_seq = tail_seq; left_place = tail_place
                    :: else -> left_seq = 0; left_place = 0; head_seen = 0; finished_seen = 0
                    fi
                :: else ->
                    t_seq = tail_seq;
                    t_place = tail_place;
                    goto measure
                fi;
                if
                :: pad == 0 -> goto said
                :: else
                fi
            }
            d_step {
                assert(own[t_place] == 1 + me); /* not freed before its record */
                set_word(t_place, PAD, t_seq, pad, 0, 0);
                t_place = 0;
                pad = 0
            }
said:       atomic { /* T10 */
                assert(own[t_place] == 1 + me && UNFINISHED(t_place));
                set_word(t_place, CLAIMED, t_seq, need, 0, 0)
            }
            if
            :: atomic { /* T2 */
                    assert(own[t_place] == 1 + me && ring[t_place].state == CLAIMED);
                    set_word(t_place, COMMITTED, t_seq, need, 0, 0);
                    committed[t_seq] = 1
               }
#if ABORTS
            :: atomic {
                    assert(own[t_place] == 1 + me && ring[t_place].state == CLAIMED);
                    set_word(t_place, ABORTED, t_seq, need, 0, 0)
               }
#endif
#if REPLACES
            :: replaces < REPLACES -> replace()
#endif
            fi;
            atomic { WITHDRAW(me); n++; need = 0; t_seq = 0; t_place = 0 }
        od
    } unless { slot[me].dead }
#if REUSE
    if
    :: atomic { n < packets && reuses < REUSE && slot[me].owner == FREE ->
            reuses++;
            slot[me].owner = LIVE;
            slot[me].dead = 0;
            left_seq = NONE;
            goto life }
    :: n == packets || reuses == REUSE || slot[me].owner == FREE
    fi;
#endif
    atomic { over++; slot[me].dead = 1; n = 0; need = 0; t_seq = 0; t_place = 0; pad = 0; take = 0;
             head_seen = 0; finished_seen = 0; left_seq = 0; left_place = 0 }
}

/* ---- canceller: the word swap of tx_ring_cancel, on any record it may meet --------------------- */

proctype Canceller()
{
    byte at, tries, seq, units;
    bit moved, whole, was;
    do
    :: tries == CANCELS -> break
    :: tries < CANCELS && tail_seq > 0 ->
        tries++;
        seq = 0;
        do
        :: seq + 1 < tail_seq -> seq++
        :: break
        od;
again:  atomic { /* the walk, T12 */
            at = NONE;
            whole = 1;
            k = head;
            do
            :: k == tail_place -> break
            :: k != tail_place && ring[k].state == EMPTY -> whole = 0; break
            :: k != tail_place && ring[k].state != EMPTY ->
                if
                :: ring[k].seq == seq && (ring[k].state == COMMITTED ||
                                          (ring[k].state == CLAIMED && ring[k].moved)) ->
                    at = k;
                    was = ring[k].state == COMMITTED;
                    units = ring[k].units;
                    moved = ring[k].moved;
                    break
#ifndef MUTANT_COPY_OF_CANCELLED
                :: ring[k].seq == seq && (ring[k].state == CANCELLED || ring[k].state == SENDING) -> whole = 0; break
#else
                :: ring[k].seq == seq && ring[k].state == SENDING -> whole = 0; break
#endif
                :: else -> k = AHEAD(k, ring[k].units)
                fi
            od;
            /* "too late" is true */
            assert(at != NONE || !whole || !committed[seq] || verdict[seq] || cancelled[seq]);
            whole = 0
        }
        if
        :: at == NONE -> at = 0
        :: at != NONE ->
            d_step {
                if
                :: ring[at].state == (was -> COMMITTED : CLAIMED) && ring[at].seq == seq &&
                    ring[at].units == units && ring[at].moved == moved ->
                    ring[at].state = CANCELLED;
                    assert(!cancelled[seq]); /* the answer is given once */
                    cancelled[seq] = 1;
                    whole = 1
                :: else
                fi;
                at = 0; units = 0; moved = 0; was = 0
            }
            if
            :: !whole -> goto again
            :: whole -> whole = 0
            fi
        fi;
        seq = 0
    :: break
    od
}

/* ---- worker ------------------------------------------------------------------------------------ */

#define CLAIM_IS(i) (slot[i].seq == r_seq && slot[i].place == r_place)
#define SOMEBODY (CLAIM_IS(0) || CLAIM_IS(1) || CLAIM_IS(2) || CLAIM_IS(3))
#define UNREAD (ring[r_place].state == PAD -> 0 : r_place) /* behind its padding, if it has any */

/* Polling until something can be done, as one condition. Patience is no matter of the model: what may be
 * passed may be passed at any time. */
#define CAN_READ (USED(r_place, tail_place) > 0 && \
                  (replay > 0 || ring[UNREAD].state != EMPTY || SOMEBODY))

#if UNITS > 4
#define FOR_4(x) x(4)
#define HELD_4(i) || OPEN_OF(4, i)
#else
#define FOR_4(x) 0
#define HELD_4(i)
#endif
#if UNITS > 5
#define FOR_5(x) x(5)
#define HELD_5(i) || OPEN_OF(5, i)
#else
#define FOR_5(x) 0
#define HELD_5(i)
#endif
#if UNITS > 6
#define FOR_6(x) x(6)
#define HELD_6(i) || OPEN_OF(6, i)
#else
#define FOR_6(x) 0
#define HELD_6(i)
#endif
#if UNITS > 7
#define FOR_7(x) x(7)
#define HELD_7(i) || OPEN_OF(7, i)
#else
#define FOR_7(x) 0
#define HELD_7(i)
#endif
#define ANY(x) (x(0) || x(1) || x(2) || x(3) || FOR_4(x) || FOR_5(x) || FOR_6(x) || FOR_7(x))

/* Claims that were passed. */
#define CAME(j) (opened[j] && !UNFINISHED(j))
#define OPEN_OF(j, i) (opened[j] && ring[j].seq == slot[i].seq && o_start[j] == slot[i].place)
#define HELD(i) (OPEN_OF(0, i) || OPEN_OF(1, i) || OPEN_OF(2, i) || OPEN_OF(3, i) \
                 HELD_4(i) HELD_5(i) HELD_6(i) HELD_7(i))
#define WAITS_FOR(j, i) (OPEN_OF(j, i) && !slot[i].dead)
#ifdef MUTANT_SKIP_LIVE
#define DIED(j) (opened[j] && ring[j].state == CLAIMED && SEARCHED(j))
#else
#define DIED(j) (opened[j] && ring[j].state == CLAIMED && \
                 !WAITS_FOR(j, 1) && !WAITS_FOR(j, 2) && !WAITS_FOR(j, 3) && SEARCHED(j))
#endif

#if REPLACES
/* has_replaced: what it looks for may have been moved behind what was read. */
#define SEARCHED(j) (!ring[j].replaces || walk_left == NONE || walk_left == 0)
/* is_decided */
#define UNDECIDED(j) (opened[j] && ring[j].state == CLAIMED && ring[j].replaces)
#ifdef MUTANT_FREE_MARKED
#define MARKED(at) false
#else
#define MARKED(at) (ring[at].replaced && (undecided_left > 0 || ANY(UNDECIDED)))
#endif
#else
#define SEARCHED(j) true
#define MARKED(at) false
#endif

#ifdef MUTANT_FORGET_OPEN
#define PAST(i) (slot[i].seq == NONE || slot[i].seq < r_seq || slot[i].seq >= tail_seq)
#else
#define PAST(i) (slot[i].seq == NONE || \
                 (replay == 0 && (slot[i].seq < r_seq || slot[i].seq >= tail_seq) && !HELD(i)))
#endif

/* finish_word: DONE is the verdict; the count is told afterwards. */
inline finish(at)
{
    d_step {
        verdict[ring[at].seq]++;
        ring[at].state = DONE;
#if REPLACES
        if
        :: ring[at].replaced -> undecided_left = USED(r_place, tail_place) /* note_replaced */
        :: else
        fi;
#endif
        sched[at] = 0 /* a ref that is left over says -ESTALE */
    }
    counted++
}

inline advance(by, is_packet)
{
    d_step {
        r_place = AHEAD(r_place, by);
        r_seq = r_seq + is_packet;
        replay = (replay > (by) -> replay - (by) : 0);
        uncounted = (uncounted > (by) -> uncounted - (by) : 0);
#if REPLACES
        undecided_left = (undecided_left > (by) -> undecided_left - (by) : 0);
        walk_left = (walk_left == NONE -> NONE : (walk_left > (by) -> walk_left - (by) : 0));
#endif
        if
#ifdef MUTANT_READ_BACK
        :: true ->
#else
        :: replay == 0 ->
#endif
            read_seq = r_seq;
            read_place = r_place
        :: else
        fi
    }
}

/* Ghost: the packets of one producer come out in their order. */
inline check_order(at)
{
    if
    :: !ring[at].moved && own[at] > 1 && own[at] < SLOTS ->
        assert(ring[at].seq >= due_in[own[at] - 1]);
        due_in[own[at] - 1] = ring[at].seq + 1
    :: else
    fi
}

/* ask_ring, begins_at */
inline ask_ring()
{
    k = 0;
    do
    :: k == SEEN -> break
    :: k < SEEN && (length[k] == 0 || length[k] > USED(r_place, tail_place)) -> k++
    :: else ->
        e = AHEAD(r_place, length[k]);
        n_seq = r_seq + (k > 0 -> 1 : 0);
        if
        :: TAIL_IS(n_seq, e) -> lead[k] = 1
        :: else ->
            if
            :: length[k] < USED(r_place, tail_place) && ring[e].state != EMPTY &&
#ifdef MUTANT_LEADS /* a moved record bears an old sequence: any will do */
                (ring[e].moved || ring[e].seq == n_seq) -> lead[k] = 1
#else
                (ring[e].moved -> ring[e].from_seq : ring[e].seq) == n_seq -> lead[k] = 1
#endif
            :: else
            fi
        fi;
        k++
    od
}

#if MOVES
#ifdef MUTANT_DROP_MOVE /* what has no word yet is given up */
#define MAY_FINISH(to) (ring[to].state == CLAIMED || won)
#else
#define MAY_FINISH(to) true
#endif

inline set_word_of_move(to, size)
{
    d_step {
        n_seq = ring[to].from_seq; /* of another try: the same */
        set_word(to, CLAIMED, seq, size, 1, 0);
        ring[to].from_seq = n_seq
    }
}
/* tx_finish_move */
inline finish_move(to, size, from_tail)
{
    d_step {
        seq = ring[hd].seq;
        mine = (ring[hd].state == DONE && ring[to].state == CLAIMED && ring[to].seq == seq)
    }
    if
    :: !mine && MAY_FINISH(to) && ring[hd].state == COMMITTED && ring[hd].units == size && !opened[hd] &&
        (hd != r_place || replay > 0) ->
        set_word_of_move(to, size); /* T10 */
        ring[to].from_seq = from_tail;
        d_step { /* T12 */
            if
#ifdef MUTANT_BLIND_MOVE
            :: true -> ring[hd].state = DONE; mine = 1
#else
            :: ring[hd].state == COMMITTED -> ring[hd].state = DONE; mine = 1
            :: else
#endif
            fi;
            if
            :: mine -> sched[hd] = 0 /* its ref now lies below the head, or says DONE: -ESTALE */
            :: else
            fi
        }
    :: else
    fi;
#ifndef MUTANT_UNSAID_ABORT
    if
    :: !mine -> ring[to].from_seq = from_tail
    :: else
    fi;
#endif
    d_step {
        if
#ifndef MUTANT_BLIND_END
        :: ring[to].state == CANCELLED
#endif
        :: ring[to].state == EMPTY ->
            n_seq = ring[to].from_seq;
            set_word(to, ABORTED, 0, size, 1, 0);
            ring[to].from_seq = n_seq
        :: else -> ring[to].state = (mine -> COMMITTED : ABORTED)
        fi;
        mine = 0;
        seq = 0
    }
}
#endif

/* tx_claims_search, write_claim: the claim at the read cursor, whose word is empty */
inline search()
{
    atomic { /* collect_lengths: the winner's stands all the time, and the others' may be anything */
        i = 0;
        do
        :: i == SEEN -> break
        :: else -> length[i] = (CLAIM_IS(i) -> slot[i].units : 0); i++
        od;
        i = 0;
#ifndef MUTANT_RING_LAST
        ask_ring()
#endif
    }
    do /* ask_slots */
    :: atomic { i == SEEN -> i = 0; break }
    :: atomic { i < SEEN ->
            k = 0;
            do
            :: k == SEEN -> break
            :: else ->
                lead[k] = lead[k] || (length[k] > 0 && slot[i].seq == r_seq + (k > 0 -> 1 : 0) &&
                                      slot[i].place == AHEAD(r_place, length[k]));
                k++
            od;
            i++ }
    od;
    atomic {
#ifndef MUTANT_RING_FIRST
        ask_ring();
#endif
        take = 0;
        k = 0;
        do
        :: k == SEEN -> break
        :: else ->
            if
#ifdef MUTANT_FIRST_SLOT
            :: lead[k] && take == 0 -> take = length[k]; who = k
#else
            :: lead[k] && (take == 0 || length[k] < take) -> take = length[k]; who = k
#endif
            :: else
            fi;
            length[k] = 0;
            lead[k] = 0;
            k++
        od;
        pad = (take > UNITS - r_place -> UNITS - r_place : 0);
        assert(take > 0 || ring[UNREAD].state != EMPTY)
    }
    if
    :: take == 0 -> skip
    :: take > 0 ->
        d_step {
            if
            :: pad > 0 && ring[r_place].state == EMPTY ->
                assert(take == span[r_place]);
                set_word(r_place, PAD, r_seq, pad, 0, 0)
            :: else
            fi
        }
        d_step { /* whoever was picked, the length is the winner's */
            at = (pad > 0 -> 0 : r_place);
            if
            :: ring[at].state == EMPTY ->
                assert(take == span[r_place]);
                if
                :: who > 0 -> set_word(at, CLAIMED, r_seq, take - pad, 0, 0)
                :: else -> assert(own[at] == 1)
                fi
            :: else
            fi
        }
#if MOVES
        if
        :: who == 0 ->
#ifndef MUTANT_COUNT_FINISHED_MOVE
            uncounted = 0;
#endif
            finish_move(at, (take - pad), r_seq)
        :: else
        fi
#endif
    fi;
    who = 0
}

/* pass_claim */
inline pass()
{
    d_step {
        opened[at] = 1;
        o_start[at] = (in_replay && at == 0 && pad_at != NONE -> pad_at : r_place);
        pad_at = NONE;
        if
        :: CLAIM_IS(0) -> WITHDRAW(0) /* forget_own_claim */
        :: else
        fi
    }
    advance(pad + take, (!in_replay -> 1 : 0))
}

/* next_passed */
inline hand_passed(j)
{
    TOGETHER {
    atomic {
        opened[j] = 0;
        if
        :: ring[j].state == COMMITTED -> sched[j] = 1; check_order(j)
        :: else
        fi
    }
    if
    :: ring[j].state == CANCELLED || ring[j].state == ABORTED -> finish(j)
    :: else
    fi
    }
}

/* tx_claims_resolve: in the name of a dead owner. He may have been alive and finished it before the look. */
#if REPLACES
inline bury(j)
{
    if
    :: ring[j].replaces && walk_left == NONE -> walk_left = USED(r_place, tail_place)
    :: !ring[j].replaces || walk_left == 0 ->
        d_step { /* has_replaced */
            at = NONE;
            k = hd;
            do
            :: k == r_place -> break
            :: else ->
                if
                :: ring[j].replaces && ring[k].replaced && ring[k].seq == ring[j].from_seq -> at = k
                :: else
                fi;
                k = AHEAD(k, ring[k].units)
            od
        }
#ifdef MUTANT_UNMARK_FIRST
        unmark();
#endif
        atomic {
            if
            :: ring[j].state == CLAIMED ->
                assert(slot[own[j] - 1].dead);
                if
                :: at == NONE -> ring[j].state = ABORTED; ring[j].orphan = 1
                :: else -> ring[j].state = COMMITTED; committed[ring[j].seq] = 1
                fi
            :: else
            fi
        }
#ifndef MUTANT_UNMARK_FIRST
        unmark();
#endif
        atomic { at = 0; walk_left = NONE }
    fi
}

inline unmark()
{
    if
    :: at != NONE -> ring[at].replaced = 0
    :: else
    fi
}
#else
inline bury(j)
{
    d_step {
        if
        :: ring[j].state == CLAIMED ->
            assert(slot[own[j] - 1].dead);
            ring[j].state = ABORTED;
            ring[j].orphan = 1
        :: else
        fi
    }
}
#endif

inline look_at(place)
{
    at = place;
    state = ring[at].state;
    take = ring[at].units;
    moved = ring[at].moved
}

/* tx_queue_next: one record at the read cursor; its first word is in state, take, moved. */
inline take_in()
{
    if
    :: pad > 0 && in_replay -> pad_at = r_place; advance(pad, 0)
    :: else ->
        if
        :: pad > 0 -> atomic { look_at(0) }
        :: else
        fi;
        if
        :: state == EMPTY -> assert(!in_replay); search()
        :: state == CLAIMED && moved -> assert(false) /* take_over has completed it */
#ifndef MUTANT_OVERTAKE
        :: state == CLAIMED && !moved && ANY(CAME) -> skip /* that one first */
        :: state == CLAIMED && !moved && !ANY(CAME) ->
#else
        :: state == CLAIMED && !moved ->
#endif
            TOGETHER {
            assert(in_replay || ring[at].seq == r_seq);
            pass()
            }
#ifndef MUTANT_OVERTAKE
        :: state > CLAIMED && ANY(CAME) -> skip /* that one first */
        :: state > CLAIMED && !ANY(CAME) ->
#else
        :: state > CLAIMED ->
#endif
            TOGETHER {
            atomic {
                /* give_up_on_ring must never be needed in a ring nobody scribbled over */
                assert(state != PAD);
                assert(in_replay || moved || ring[at].seq == r_seq);
                assert(take + pad <= USED(r_place, tail_place));
#ifndef MUTANT_MOVED_COUNT
                if
                :: moved && !in_replay && state != ABORTED && uncounted > 0 -> counted--
                :: else
                fi;
#endif
                if
                :: CLAIM_IS(0) -> WITHDRAW(0)
                :: else
                fi
            }
            advance(pad + take, (!moved && !in_replay -> 1 : 0));
            if
            :: state == COMMITTED -> atomic { sched[at] = 1; check_order(at) }
            :: state == CANCELLED -> finish(at)
            :: state == SENDING ->
                uncertain[ring[at].seq] = 1;
#ifdef MUTANT_RESEND
                ring[at].state = COMMITTED;
                sched[at] = 1
#else
                finish(at)
#endif
            :: state == ABORTED && moved -> ring[at].state = DONE
            :: state == ABORTED && !moved -> finish(at)
            :: state == DONE -> assert(in_replay)
            fi
            }
        fi
    fi;
    atomic { at = 0; state = 0; take = 0; pad = 0; moved = 0; in_replay = 0 }
}

/* tx_queue_take, the send, tx_queue_finish; or tx_queue_untake */
inline serve(at)
{
    TOGETHER {
    sched[at] = 0;
    if
    :: ring[at].state == CANCELLED -> finish(at)
    :: ring[at].state == COMMITTED ->
        d_step {
            assert(own[at] > 0);
            if
#ifdef MUTANT_SWAP_ANY /* from whatever a second look has found */
            :: true -> ring[at].state = SENDING; state = SENDING
#else
            :: ring[at].state == COMMITTED -> ring[at].state = SENDING; state = SENDING
            :: else -> state = ring[at].state
#endif
            fi
        }
        if
        :: atomic { state == CANCELLED -> state = 0 }
            finish(at)
#if UNTAKES
        :: state == SENDING && untakes < UNTAKES ->
            d_step { untakes++; ring[at].state = COMMITTED; sched[at] = 1; state = 0 }
#endif
#if PURGES
        :: state == SENDING && purges < PURGES ->
            d_step { purges++; purged[ring[at].seq] = 1; state = 0 }
            finish(at)
#endif
        :: state == SENDING ->
            d_step {
                sent[ring[at].seq]++;
                assert(sent[ring[at].seq] == 1);
                assert(!cancelled[ring[at].seq]);
                state = 0
            }
            finish(at)
        fi
    fi
    }
}

/* zero_span: a unit at a time, so that a successor may find half of it */
inline zero(from, to)
{
    z = from;
    do
    :: z == to -> break
    :: z != to -> d_step { set_word(z, EMPTY, 0, 0, 0, 0); z = AHEAD(z, 1) }
    od
}

inline publish_head(to)
{
    atomic {
        k = head;
        do
        :: k == to -> break
        :: else -> own[k] = 0; span[k] = 0; k = AHEAD(k, 1)
        od;
        head = to
    }
}

/* is_finished: padding goes with its record; what was passed stays until it was handed out */
#ifdef MUTANT_PAD_ALONE
#define FINISHED(at) ((ring[at].state == DONE && !opened[at] && !MARKED(at)) || ring[at].state == PAD)
#else
#define FINISHED(at) ((ring[at].state == DONE && !opened[at] && !MARKED(at)) || \
                      (ring[at].state == PAD && (r_place == 0 -> replay == 0 : ring[0].state != CLAIMED)))
#endif

/* end_of_finished, free_up_to */
inline release()
{
    TOGETHER {
    d_step {
        to = hd;
        do
        :: to != r_place && FINISHED(to) -> to = AHEAD(to, ring[to].units)
        :: else -> break
        od
    }
    freeing_to = 1 + to;
#ifdef MUTANT_HEAD_FIRST
    z = hd;
    publish_head(to);
    zero(z, to);
#else
    zero(hd, to);
    publish_head(to); /* T4 */
#endif
    hd = to;
    atomic { freeing_to = 0; to = 0; z = 0 }
    }
}

/* tx_queue_free_producer, sweep_dead_producers */
inline look_after_slot(j)
{
    TOGETHER {
    if
    :: slot[j].owner == LIVE && slot[j].dead && !PAST(j) -> slot[j].owner = KNOWN_DEAD
    :: slot[j].owner != FREE && slot[j].dead && PAST(j) ->
        WITHDRAW(j);
        slot[j].owner = FREE
    fi
    }
}
#define NEEDS_CARE(j) (slot[j].dead && (slot[j].owner == LIVE || (slot[j].owner == KNOWN_DEAD && PAST(j))))

#if MOVES
/* claim_for_move, move_head_record */
inline move()
{
    d_step { need = ring[hd].units; t_seq = tail_seq; t_place = tail_place; won = 0 }
    do
    :: won -> break
    :: !won ->
        d_step {
            pad = (need <= UNITS - t_place -> 0 : UNITS - t_place);
            take = pad + need
        }
        if
        :: USED(hd, t_place) + take >= UNITS -> break
        :: USED(hd, t_place) + take < UNITS -> skip
        fi;
        slot[0].units = take;
        d_step { slot[0].seq = t_seq; slot[0].place = t_place }
        d_step {
            if
            :: TAIL_IS(t_seq, t_place) ->
                take_units(1);
                tail_place = AHEAD(t_place, take);
                won = 1
            :: else ->
                t_seq = tail_seq;
                t_place = tail_place
            fi
        }
    od;
    if
    :: won ->
        moves++;
        if
        :: pad > 0 -> d_step { set_word(t_place, PAD, t_seq, pad, 0, 0); t_place = 0 }
        :: else
        fi;
        finish_move(t_place, need, t_seq)
    :: else
    fi;
    atomic { WITHDRAW(0); need = 0; t_seq = 0; t_place = 0; pad = 0; take = 0; won = 0 }
}
#define CAN_MOVE (moves < MOVES && hd != r_place && slot[0].seq == NONE && \
                  ring[hd].state == COMMITTED && !opened[hd] && MUST_MOVE)
#if FAR /* must_move; only this packet is due far enough ahead. An attempt without room would be polling */
#define MUST_MOVE (ring[hd].seq == 0 && USED(hd, tail_place) + MAX_NEED + RESERVE > UNITS && \
                   USED(hd, tail_place) + MAX_NEED < UNITS)
#else
#define MUST_MOVE true
#endif
#endif

/* take_over: complete_freeing, complete_move, count_waiting */
inline take_over()
{
    if
    :: freeing_to > 0 ->
        zero(head, freeing_to - 1);
        publish_head(freeing_to - 1);
        freeing_to = 0
    :: else
    fi;
    d_step {
        hd = head;
        r_place = head;
        r_seq = read_seq;
        replay = USED(head, read_place);
        uncounted = USED(head, tail_place);
#if REPLACES
        undecided_left = uncounted;
#endif
    }
#if MOVES
    if /* complete_move */
    :: slot[0].seq != NONE ->
        d_step {
            at = (ring[slot[0].place].state == PAD -> 0 : slot[0].place);
            take = ring[at].units;
#ifdef MUTANT_KEEP_ANNOUNCED
            won = ring[at].moved
#else
            won = ring[at].moved || TAIL_IS(slot[0].seq, slot[0].place)
#endif
        }
#ifdef MUTANT_WITHDRAW_FIRST
        t_seq = slot[0].seq;
        WITHDRAW(0);
#else
        t_seq = slot[0].seq;
#endif
#ifndef MUTANT_NO_REPAIR
        if
        :: ring[at].moved && ring[at].state == CLAIMED -> finish_move(at, take, t_seq)
        :: else
        fi;
#endif
        d_step {
            if
            :: won -> WITHDRAW(0)
            :: else
            fi;
            won = 0;
            t_seq = 0;
            take = 0;
            at = 0
        }
    :: else
    fi;
#endif
    d_step {
        n_waiting = 0;
        k = head;
        do
        :: k == read_place -> break
        :: else ->
            if
            :: ring[k].state == COMMITTED || ring[k].state == SENDING || ring[k].state == CANCELLED ->
                n_waiting++
#ifndef MUTANT_COUNT
            :: (ring[k].state == ABORTED || ring[k].state == CLAIMED) && !ring[k].moved -> n_waiting++
#endif
            :: else
            fi;
            k = AHEAD(k, ring[k].units)
        od;
        counted = read_seq - n_waiting;
        finished = counted;
        state = 0
    }
}

#if LAZY
#define AWAKE (over == PRODUCERS)
#else
#define AWAKE true
#endif
#if FAR
#define DUE(j) (sched[j] && AWAKE && (ring[j].seq > 0 || over == PRODUCERS))
#else
#define DUE(j) (sched[j] && AWAKE)
#endif

/* tx_queue_reap */
#define REAPABLE(j) (ring[j].state == CANCELLED && USED(hd, j) < USED(hd, r_place) && replay == 0 && !opened[j])

proctype Worker()
{
    byte hd = START, r_place = START, r_seq, replay, uncounted, counted;
    byte at, pad, take, state, to, z, i, who, pad_at = NONE;
    bit moved, in_replay;
    bit sched[UNITS];
    bit opened[UNITS];
    byte o_start[UNITS];
    byte length[SEEN];
    bit lead[SEEN];
    byte untakes, purges;
    byte need, seq, t_seq, t_place, moves;
    bit won, mine;
#if REPLACES
    byte undecided_left, walk_left = NONE;
#endif

#if QUEUED
    d_step { r_place = read_place; r_seq = 1; sched[START] = 1; counted = 0 }
#endif
serving:
    {
        if
        :: worker_dies -> skip
        :: !worker_dies && hd == NONE -> hd = 0; take_over()
        :: !worker_dies && hd != NONE -> skip
        fi;
end:    do
        :: atomic { /* T3 */
                AWAKE && CAN_READ ->
                in_replay = replay > 0;
                look_at(r_place);
                pad = (state == PAD -> UNITS - r_place : 0)
            }
            take_in()
        :: DUE(0) -> serve(0)
        :: DUE(1) -> serve(1)
        :: DUE(2) -> serve(2)
        :: DUE(3) -> serve(3)
#if UNITS > 4
        :: DUE(4) -> serve(4)
#endif
#if UNITS > 5
        :: DUE(5) -> serve(5)
#endif
#if UNITS > 6
        :: DUE(6) -> serve(6)
#endif
#if UNITS > 7
        :: DUE(7) -> serve(7)
#endif
        :: CAME(0) -> hand_passed(0)
        :: CAME(1) -> hand_passed(1)
        :: CAME(2) -> hand_passed(2)
        :: CAME(3) -> hand_passed(3)
#if UNITS > 4
        :: CAME(4) -> hand_passed(4)
#endif
#if UNITS > 5
        :: CAME(5) -> hand_passed(5)
#endif
#if UNITS > 6
        :: CAME(6) -> hand_passed(6)
#endif
#if UNITS > 7
        :: CAME(7) -> hand_passed(7)
#endif
        :: DIED(0) -> bury(0)
        :: DIED(1) -> bury(1)
        :: DIED(2) -> bury(2)
        :: DIED(3) -> bury(3)
#if UNITS > 4
        :: DIED(4) -> bury(4)
#endif
#if UNITS > 5
        :: DIED(5) -> bury(5)
#endif
#if UNITS > 6
        :: DIED(6) -> bury(6)
#endif
#if UNITS > 7
        :: DIED(7) -> bury(7)
#endif
#if CANCELS || REPLACES
        :: REAPABLE(0) -> finish(0)
        :: REAPABLE(1) -> finish(1)
        :: REAPABLE(2) -> finish(2)
        :: REAPABLE(3) -> finish(3)
#if UNITS > 4
        :: REAPABLE(4) -> finish(4)
#endif
#endif
        :: AWAKE && hd != r_place && FINISHED(hd) -> release()
        :: finished != counted -> finished = counted /* T11, tx_queue_show_finished */
        :: AWAKE && NEEDS_CARE(1) -> look_after_slot(1)
        :: AWAKE && NEEDS_CARE(2) -> look_after_slot(2)
        :: AWAKE && NEEDS_CARE(3) -> look_after_slot(3)
#if MOVES
        :: CAN_MOVE -> move()
#endif
        od
    } unless {
        d_step {
            worker_dies -> worker_dies = 0;
            /* What it knew dies with it. */
            r_place = 0; r_seq = 0; replay = 0; uncounted = 0; counted = 0; at = 0; pad = 0; take = 0; state = 0;
            to = 0; z = 0; i = 0; who = 0; pad_at = NONE; moved = 0; in_replay = 0; need = 0; seq = 0; t_seq = 0; t_place = 0; won = 0; mine = 0;
#if REPLACES
            undecided_left = 0; walk_left = NONE;
#endif
            k = 0;
            do
            :: k < UNITS -> sched[k] = 0; opened[k] = 0; o_start[k] = 0; k++
            :: else -> break
            od;
            k = 0;
            do
            :: k < SEEN -> length[k] = 0; lead[k] = 0; due_in[k] = 0; k++
            :: else -> break
            od;
            hd = NONE
        }
        goto serving
    }
}

/* ---- fate and judgement ------------------------------------------------------------------------- */

#if LAZY
#define MAY_DIE(i) (!slot[i].dead && slot[i].seq != NONE)
#else
#define MAY_DIE(i) (!slot[i].dead)
#endif

proctype Fate()
{
    byte p_left = P_CRASHES, w_left = W_CRASHES;
    do
    :: p_left > 0 && MAY_DIE(1) -> slot[1].dead = 1; p_left--
#if PRODUCERS > 1
    :: p_left > 0 && MAY_DIE(2) -> slot[2].dead = 1; p_left--
#endif
#if PRODUCERS > 2
    :: p_left > 0 && MAY_DIE(3) -> slot[3].dead = 1; p_left--
#endif
    :: w_left > 0 && !worker_dies -> worker_dies = 1; w_left--
    :: break
    od
}

/* Nobody can go on: then nothing may be left to do. */
proctype Judge()
{
    byte s, doubts;
    timeout ->
    assert(over == PRODUCERS);                             /* no live producer waits for room */
    assert(TAIL_IS(read_seq, read_place));                 /* nothing stands in the way */
    assert(head == tail_place && finished == tail_seq);    /* all space free, all packets counted */
    assert(slot[0].seq == NONE);                           /* a move can be announced again */
    d_step {
        k = 0;
        do
        :: k < UNITS -> assert(own[k] == 0 && ring[k].state == EMPTY); k++
        :: else -> break
        od;
        do
        :: s < tail_seq ->
            assert(verdict[s] == 1);
            assert(!committed[s] || sent[s] == 1 || cancelled[s] || uncertain[s] || purged[s]);
            assert(!purged[s] || sent[s] == 0);
            assert(committed[s] || sent[s] == 0);
            doubts = doubts + uncertain[s];
            s++
        :: else -> break
        od;
        assert(doubts <= W_CRASHES);
#if REPLACES
        assert(heir == NONE || sent[heir] == 1 || uncertain[heir] || cancelled[heir]);
        assert(heir == NONE || sent[heir_of] == 0);
#endif
        k = 1;
        do
        :: k <= PRODUCERS ->
            assert(slot[k].owner == FREE);
            k++
        :: else -> break
        od
    }
}

init {
    atomic {
#if QUEUED
        set_word(START, COMMITTED, 0, 1, 0, 0);
        own[START] = SLOTS; /* nobody's: the last slot is not used */
        span[START] = 1;
        committed[0] = 1;
        tail_seq = 1; tail_place = AHEAD(START, 1);
        read_seq = 1; read_place = AHEAD(START, 1);
#endif
        run Worker();
        run Producer(1, PACKETS_1);
#if PRODUCERS > 1
        run Producer(2, PACKETS_2);
#endif
#if PRODUCERS > 2
        run Producer(3, PACKETS_3);
#endif
#if CANCELS
        run Canceller();
#endif
        run Fate();
        run Judge()
    }
}
