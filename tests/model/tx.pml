/*
 * tx.pml: the tx ring as csrc/shm/tx_ring.c (producers, canceller) and csrc/shm/tx_queue.c (worker)
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
 *   POLLS    looks the worker may take at an unfinished record before its claimants are all dead
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
#ifndef POLLS
#define POLLS 0
#endif
#ifndef CAPACITY
#define CAPACITY 0
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
#define TOTAL (PACKETS_1 + PACKETS_2 + PACKETS_3)

typedef word_t {
    byte state;
    byte seq;
    byte units;
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
byte moving_from = NONE, moving_to;
byte finished;

byte own[UNITS];     /* who holds a unit: 0 free, else 1 + slot */
byte span[UNITS];    /* length of the claim that begins here */
byte sent[TOTAL];
byte verdict[TOTAL];
bit committed[TOTAL];
bit cancelled[TOTAL];
bit uncertain[TOTAL];
byte over;           /* producers that have ended */
bit worker_dies;
hidden byte k, e, n_seq, n_waiting;

/* Where nobody can look at the worker's record or take it away in between, several of its steps are one:
 * a producer reads nothing of the worker's but the head. */
#if W_CRASHES || CANCELS
#define TOGETHER
#else
#define TOGETHER atomic
#endif

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
    ring[at].moved = mv;
    ring[at].orphan = orph
}

/* ---- producer: tx_producer_claim, tx_producer_commit, tx_producer_abort ---------------------- */

#define ROOM(h) (USED(h, t_place) + take + RESERVE <= UNITS)

proctype Producer(byte me; byte packets)
{
    byte t_seq, t_place, need, pad, take;
    byte head_seen, finished_seen, left_seq = NONE, left_place, n;
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
            slot[me].seq = NONE; /* -ENOBUFS */
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
                    left_seq = tail_seq;
                    left_place = tail_place
                :: else ->
                    t_seq = tail_seq;
                    t_place = tail_place;
                    goto measure
                fi;
                if
                :: pad == 0 -> goto fill
                :: else
                fi
            }
            d_step {
                assert(own[t_place] == 1 + me);
                set_word(t_place, PAD, t_seq, pad, 0, 0);
                t_place = 0
            }
fill:       if
            :: atomic { /* T2 */
                    assert(own[t_place] == 1 + me && ring[t_place].state == EMPTY);
                    set_word(t_place, COMMITTED, t_seq, need, 0, 0);
                    committed[t_seq] = 1
               }
#if ABORTS
            :: atomic {
                    assert(own[t_place] == 1 + me && ring[t_place].state == EMPTY);
                    set_word(t_place, ABORTED, t_seq, need, 0, 0)
               }
#endif
            fi;
            atomic { slot[me].seq = NONE; n++ }
        od
    } unless { slot[me].dead }
    atomic { over++; slot[me].dead = 1; n = 0; need = 0; t_seq = 0; t_place = 0; pad = 0; take = 0;
             head_seen = 0; finished_seen = 0; left_seq = 0; left_place = 0 }
}

/* ---- canceller: the word swap of tx_ring_cancel, on any record it may meet --------------------- */

proctype Canceller()
{
    byte at, tries, seq, units;
    bit moved;
    do
    :: tries == CANCELS -> break
    :: tries < CANCELS ->
        tries++;
        at = 0;
        do
        :: at < UNITS - 1 -> at++
        :: break
        od;
        if
        :: d_step { ring[at].state == COMMITTED ->
                seq = ring[at].seq; units = ring[at].units; moved = ring[at].moved }
            d_step {
                if
                :: ring[at].state == COMMITTED && ring[at].seq == seq && ring[at].units == units &&
                    ring[at].moved == moved ->
                    ring[at].state = CANCELLED;
                    cancelled[seq] = 1
                :: else
                fi
            }
        :: tries < CANCELS -> skip
        :: break
        fi
    od
}

/* ---- worker ------------------------------------------------------------------------------------ */

#define CLAIM_IS(i) (slot[i].seq == r_seq && slot[i].place == r_place)
#define SOMEBODY (CLAIM_IS(0) || CLAIM_IS(1) || CLAIM_IS(2) || CLAIM_IS(3))
#define NOT_ALIVE(i) (i == 0 || !CLAIM_IS(i) || slot[i].dead)
#define ALL_DEAD (NOT_ALIVE(1) && NOT_ALIVE(2) && NOT_ALIVE(3))
#define UNREAD (ring[r_place].state == PAD -> 0 : r_place) /* behind its padding, if it has any */
#define UNFINISHED(at) (ring[at].state == EMPTY || ring[at].state == CLAIMED)

/* Polling until something can be done, as one condition: the record is finished, or all who announced
 * it are dead. POLLS looks may come earlier than that. */
#define CAN_READ (USED(r_place, tail_place) > 0 && \
                  (replay > 0 || !UNFINISHED(UNREAD) || (SOMEBODY && (ALL_DEAD || polls < POLLS))))

#define PAST(i) (slot[i].seq == NONE || TAIL_IS(slot[i].seq, slot[i].place) || slot[i].seq < r_seq)

/* finish_word: DONE is the verdict; the count is told afterwards. */
inline finish(at)
{
    d_step {
        verdict[ring[at].seq]++;
        ring[at].state = DONE
    }
    counted++;
    finished = counted
}

inline advance(by, is_packet)
{
    d_step {
        r_place = AHEAD(r_place, by);
        r_seq = r_seq + is_packet;
        replay = (replay > (by) -> replay - (by) : 0);
        uncounted = (uncounted > (by) -> uncounted - (by) : 0);
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

#define ANNOUNCED(j) (slot[j].seq == n_seq && slot[j].place == e)

/* find_claimants, resolve_stuck, abort_claim */
inline resolve()
{
    i = 0;
    do
    :: atomic { i == SLOTS -> i = 0; break }
    :: atomic { i < SLOTS && !CLAIM_IS(i) -> i++ }
    :: atomic { i < SLOTS && CLAIM_IS(i) -> skip }
        d_step {
            if
#ifndef MUTANT_SKIP_LIVE
            :: i > 0 && !slot[i].dead -> alive = 1
#endif
            :: else ->
                /* claim_leads_on */
                n_seq = r_seq + (i > 0 -> 1 : 0);
                leads = 0;
                k = slot[i].units;
                do
                :: k > USED(r_place, tail_place) -> break
                :: else ->
                    e = AHEAD(r_place, k);
                    if
                    :: TAIL_IS(n_seq, e) || ANNOUNCED(0) || ANNOUNCED(1) || ANNOUNCED(2) || ANNOUNCED(3) ||
                        (ring[e].state != EMPTY && ring[e].seq == n_seq) -> leads = 1; break
#ifndef MUTANT_LEADS
                    :: else ->
                        if
                        :: ring[e].state != EMPTY && ring[e].moved -> k = k + ring[e].units
                        :: else -> break
                        fi
#else
                    :: else -> break
#endif
                    fi
                od;
                if
                :: deads == 0 || (leads && !found) -> who = i
                :: else
                fi;
                deads++;
                found = found || leads
            fi;
            i++
        }
    od;
    if
    :: !alive && deads > 0 ->
#ifndef MUTANT_NO_SECOND_LOOK
        if
        :: !UNFINISHED(UNREAD) -> skip
        :: UNFINISHED(UNREAD) ->
#endif
            d_step {
                take = slot[who].units;
                assert(take > 0 && take <= USED(r_place, tail_place));
                assert(take == span[r_place]); /* whoever was picked, the length is the winner's */
                assert(own[r_place] == 1 || slot[own[r_place] - 1].dead);
                pad = (take > UNITS - r_place -> UNITS - r_place : 0)
            }
            if
            :: pad > 0 ->
                d_step { set_word(0, ABORTED, r_seq, take - pad, who == 0, who > 0) }
                d_step { set_word(r_place, PAD, r_seq, pad, 0, 0) }
            :: else ->
                d_step { set_word(r_place, ABORTED, r_seq, take, who == 0, who > 0) }
            fi
#ifndef MUTANT_NO_SECOND_LOOK
        fi
#endif
    :: else
    fi;
    atomic { alive = 0; deads = 0; found = 0; who = 0; leads = 0 }
}

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
    :: pad > 0 && in_replay -> advance(pad, 0)
    :: else ->
        if
        :: pad > 0 -> atomic { look_at(0) }
        :: else
        fi;
        if
        :: !in_replay && (state == EMPTY || state == CLAIMED) ->
            polls = (polls < POLLS -> polls + 1 : polls);
            resolve()
        :: else ->
            atomic {
                /* give_up_on_ring must never be needed in a ring nobody scribbled over */
                assert(state >= COMMITTED && state != PAD);
                assert(in_replay || moved || ring[at].seq == r_seq);
                assert(take + pad <= USED(r_place, tail_place));
#ifndef MUTANT_MOVED_COUNT
                if
                :: moved && !in_replay && state != ABORTED && uncounted > 0 -> counted--
                :: else
                fi;
#endif
                if
                :: CLAIM_IS(0) -> slot[0].seq = NONE
                :: else
                fi
            }
            advance(pad + take, (!moved && !in_replay -> 1 : 0));
            if
            :: state == COMMITTED -> sched[at] = 1
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
        :: state == CANCELLED -> finish(at)
        :: state == SENDING ->
            d_step {
                sent[ring[at].seq]++;
                assert(sent[ring[at].seq] == 1);
                assert(!cancelled[ring[at].seq])
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

/* end_of_finished, free_up_to */
inline release()
{
    TOGETHER {
    d_step {
        to = hd;
        do
        :: to != r_place && (ring[to].state == DONE || ring[to].state == PAD) ->
            to = AHEAD(to, ring[to].units)
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
    freeing_to = 0
    }
}

/* tx_queue_free_producer, sweep_dead_producers */
inline look_after_slot(j)
{
    TOGETHER {
    if
    :: slot[j].owner == LIVE && slot[j].dead && !PAST(j) -> slot[j].owner = KNOWN_DEAD
    :: slot[j].owner != FREE && slot[j].dead && PAST(j) ->
        slot[j].seq = NONE;
        slot[j].owner = FREE
    fi
    }
}
#define NEEDS_CARE(j) (slot[j].dead && (slot[j].owner == LIVE || (slot[j].owner == KNOWN_DEAD && PAST(j))))

#if MOVES
/* claim_for_move, move_head_record */
inline move()
{
    d_step { need = ring[hd].units; seq = ring[hd].seq; t_seq = tail_seq; t_place = tail_place; won = 0 }
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
        d_step { set_word(t_place, CLAIMED, seq, need, 1, 0) }
#ifndef MUTANT_NO_JOURNAL
        d_step { moving_from = hd; moving_to = t_place }
#endif
        d_step {
            if
#ifdef MUTANT_BLIND_MOVE
            :: true -> ring[hd].state = DONE; mine = 1
#else
            :: ring[hd].state == COMMITTED -> ring[hd].state = DONE; mine = 1
            :: else -> mine = 0
#endif
            fi
        }
        ring[t_place].state = (mine -> COMMITTED : ABORTED);
        moving_from = NONE;
        if
        :: mine -> sched[hd] = 0 /* its ref now lies below the head: -ESTALE */
        :: else
        fi
    :: else
    fi;
    slot[0].seq = NONE
}
#define CAN_MOVE (moves < MOVES && hd != r_place && slot[0].seq == NONE && \
                  ring[hd].state == COMMITTED)
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
    if
    :: moving_from != NONE ->
        d_step {
            pad = moving_from;
            to = moving_to
        }
#ifndef MUTANT_JOURNAL_FIRST
        if
        :: ring[to].state == CLAIMED ->
            ring[to].state = (ring[pad].state == DONE || ring[pad].state == EMPTY -> COMMITTED : ABORTED)
        :: else
        fi;
        moving_from = NONE
#else
        moving_from = NONE;
        if
        :: ring[to].state == CLAIMED ->
            ring[to].state = (ring[pad].state == DONE || ring[pad].state == EMPTY -> COMMITTED : ABORTED)
        :: else
        fi
#endif
    :: else
    fi;
    d_step {
        hd = head;
        r_place = head;
        r_seq = read_seq;
        replay = USED(head, read_place);
        uncounted = USED(head, tail_place);
        n_waiting = 0;
        k = head;
        do
        :: k == read_place -> break
        :: else ->
            if
            :: ring[k].state == COMMITTED || ring[k].state == SENDING || ring[k].state == CANCELLED ->
                n_waiting++
#ifndef MUTANT_COUNT
            :: ring[k].state == ABORTED && !ring[k].moved -> n_waiting++
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

proctype Worker()
{
    byte hd = START, r_place = START, r_seq, replay, uncounted, counted;
    byte at, pad, take, state, to, z, i, who, deads;
    bit moved, in_replay, alive, found, leads;
    bit sched[UNITS];
    byte need, seq, t_seq, t_place, moves;
    bit won, mine;
    byte polls;

serving:
    {
        if
        :: worker_dies -> skip
        :: !worker_dies && hd == NONE -> hd = 0; take_over()
        :: !worker_dies && hd != NONE -> skip
        fi;
end:    do
        :: atomic { /* T3 */
                CAN_READ ->
                in_replay = replay > 0;
                look_at(r_place);
                pad = (state == PAD -> UNITS - r_place : 0)
            }
            take_in()
        :: sched[0] -> serve(0)
        :: sched[1] -> serve(1)
        :: sched[2] -> serve(2)
        :: sched[3] -> serve(3)
#if UNITS > 4
        :: sched[4] -> serve(4)
#endif
#if UNITS > 5
        :: sched[5] -> serve(5)
#endif
#if UNITS > 6
        :: sched[6] -> serve(6)
#endif
#if UNITS > 7
        :: sched[7] -> serve(7)
#endif
        :: hd != r_place && (ring[hd].state == DONE || ring[hd].state == PAD) -> release()
        :: NEEDS_CARE(1) -> look_after_slot(1)
        :: NEEDS_CARE(2) -> look_after_slot(2)
        :: NEEDS_CARE(3) -> look_after_slot(3)
#if MOVES
        :: CAN_MOVE -> move()
#endif
        od
    } unless {
        d_step {
            worker_dies -> worker_dies = 0;
            /* What it knew dies with it. */
            r_place = 0; r_seq = 0; replay = 0; uncounted = 0; counted = 0; at = 0; pad = 0; take = 0; state = 0;
            to = 0; z = 0; i = 0; who = 0; deads = 0; moved = 0; in_replay = 0; alive = 0; found = 0;
            leads = 0; need = 0; seq = 0; t_seq = 0; t_place = 0; won = 0; mine = 0;
            k = 0;
            do
            :: k < UNITS -> sched[k] = 0; k++
            :: else -> break
            od;
            hd = NONE
        }
        goto serving
    }
}

/* ---- fate and judgement ------------------------------------------------------------------------- */

proctype Fate()
{
    byte p_left = P_CRASHES, w_left = W_CRASHES;
    do
    :: p_left > 0 && !slot[1].dead -> slot[1].dead = 1; p_left--
#if PRODUCERS > 1
    :: p_left > 0 && !slot[2].dead -> slot[2].dead = 1; p_left--
#endif
#if PRODUCERS > 2
    :: p_left > 0 && !slot[3].dead -> slot[3].dead = 1; p_left--
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
    d_step {
        k = 0;
        do
        :: k < UNITS -> assert(own[k] == 0 && ring[k].state == EMPTY); k++
        :: else -> break
        od;
        do
        :: s < tail_seq ->
            assert(verdict[s] == 1);
            assert(!committed[s] || sent[s] == 1 || cancelled[s] || uncertain[s]);
            assert(committed[s] || sent[s] == 0);
            doubts = doubts + uncertain[s];
            s++
        :: else -> break
        od;
        assert(doubts <= W_CRASHES);
        k = 1;
        do
        :: k <= PRODUCERS ->
            assert(slot[k].owner == FREE || (slot[k].seq != NONE && slot[k].seq == read_seq));
            k++
        :: else -> break
        od
    }
}

init {
    atomic {
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
