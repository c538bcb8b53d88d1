/*
 * netflux.pml: the boxes of a Netflux link as csrc/shm/netflux_shm.c plays them. One statement is one
 * access to shared memory. The values of a put, or of a publication, are two cells of the same number,
 * so that a torn copy shows; and that number is its ticket, so that other values than those meant show
 * too.
 *
 * A run defines:
 *   SLOTS      out box: writers, each with its slot, 1 .. 2; 0: the in box is played instead
 *   PUTS       values that each of them puts, its successors included; in box: publications
 *   LOOKS      attempts of the reader
 *   CRASHES    how many writers, or workers, may die; another takes the slot over
 *   IN_SLOTS   slots of the in box
 */
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef PUTS
#define PUTS 2
#endif
#ifndef LOOKS
#define LOOKS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef IN_SLOTS
#define IN_SLOTS 4
#endif

typedef box_t {
    byte version; /* ticket << 1 | being written */
    byte cell[2]
};

bit dies[3];
byte writers_over, looks_done;

#if SLOTS > 0

#define HALF(slot, half) (2 * (slot) + (half))

box_t out[2 * (SLOTS + 1)];
byte latest_ticket, latest_slot, latest_half;
byte tickets;
byte best; /* latest ticket of a put that has returned */

/* ---- free_half ------------------------------------------------------------------------------ */

inline choose_half()
{
#if defined(MUTANT_NAMED_HALF)
    half = 0
#elif defined(MUTANT_OLDER_HALF)
    half = (out[HALF(me, 0)].version > out[HALF(me, 1)].version -> 1 : 0)
#else
    if
    :: seen > 0 && seen_slot == me -> half = 1 - seen_half
    :: else -> half = (out[HALF(me, 0)].version > out[HALF(me, 1)].version -> 1 : 0)
    fi
#endif
}

/* ---- shm_box_put ---------------------------------------------------------------------------- */

proctype Writer(byte me)
{
    byte left = PUTS, seen, seen_slot, seen_half, half, ticket, before;
writing:
    {
        do
        :: atomic { left == 0 -> break }
        :: atomic { left > 0 -> /* B2 */
                left--;
                before = best;
                seen = latest_ticket; seen_slot = latest_slot; seen_half = latest_half;
                choose_half() /* its own slot: nobody else writes there */
           }
           atomic {
                tickets++;
                ticket = tickets;
                assert(ticket > before) /* what had returned before this began has an earlier one */
           }
           out[HALF(me, half)].version = ticket * 2 + 1; /* B3 */
           out[HALF(me, half)].cell[0] = ticket;
           out[HALF(me, half)].cell[1] = ticket;
           out[HALF(me, half)].version = ticket * 2; /* B4 */
           do
#ifdef MUTANT_BLIND_STORE
           :: atomic { true ->
                latest_ticket = ticket; latest_slot = me; latest_half = half;
                break
              }
#else
           :: atomic { seen >= ticket -> break }
           :: atomic { seen < ticket -> /* B1 */
                if
                :: latest_ticket == seen && latest_slot == seen_slot && latest_half == seen_half ->
                    latest_ticket = ticket; latest_slot = me; latest_half = half;
                    break
                :: else -> seen = latest_ticket; seen_slot = latest_slot; seen_half = latest_half
                fi
              }
#endif
           od;
           atomic {
                best = (ticket > best -> ticket : best);
                ticket = 0; half = 0; seen = 0; seen_slot = 0; seen_half = 0; before = 0
           }
        od
    } unless {
        /* the next owner of the slot: knows nothing, finds what lies there */
        atomic {
            dies[me] ->
            dies[me] = 0;
            ticket = 0; half = 0; seen = 0; seen_slot = 0; seen_half = 0; before = 0;
            goto writing
        }
    }
    writers_over++
}

/* ---- shm_netflux_peek ----------------------------------------------------------------------- */

proctype Reader()
{
    byte left = LOOKS, ticket, at, first, second, last;
    do
    :: left == 0 -> break
    :: left > 0 ->
        atomic { /* B2 */
            left--;
            ticket = latest_ticket;
            at = HALF(latest_slot, latest_half)
        }
        if
        :: ticket == 0 -> goto over
        :: else
        fi;
#ifdef MUTANT_NO_TICKET
        if
        :: atomic { out[at].version % 2 == 0 -> second = out[at].version }
        :: else -> goto over
        fi;
        first = out[at].cell[0];
        if
        :: atomic { out[at].version == second -> second = out[at].cell[1] }
        :: else -> goto over
        fi;
#else
        if
        :: out[at].version == ticket * 2 /* B5 */
        :: else -> goto over
        fi;
        first = out[at].cell[0];
        second = out[at].cell[1];
#ifndef MUTANT_NO_RECHECK
        if
        :: out[at].version == ticket * 2 /* B5 */
        :: else -> goto over
        fi;
#endif
#endif
        atomic {
            assert(first == ticket && second == ticket); /* whole, and those that latest names */
            assert(ticket >= last);                      /* never back to older ones */
            last = ticket;
            looks_done++
        }
over:   atomic { ticket = 0; at = 0; first = 0; second = 0 }
    od
}

/* All is quiet: what was put last lies there whole, whoever died over what. */
proctype Judge()
{
    timeout ->
    assert(writers_over == SLOTS);
    assert(latest_ticket >= best);
    assert(latest_ticket == 0 || out[HALF(latest_slot, latest_half)].version == latest_ticket * 2);
    assert(latest_ticket == 0 || out[HALF(latest_slot, latest_half)].cell[0] == latest_ticket);
    assert(latest_ticket == 0 || out[HALF(latest_slot, latest_half)].cell[1] == latest_ticket);
    assert(CRASHES > 0 || latest_ticket == SLOTS * PUTS)
}

#else

/* ---- shm_netflux_publish -------------------------------------------------------------------- */

box_t in[IN_SLOTS];
byte published;

proctype Writer(byte me)
{
    byte left = PUTS, n;
writing:
    {
        do
        :: atomic { left == 0 -> break }
        :: atomic { left > 0 -> left--; n = published + 1 }
#ifndef MUTANT_UNMARKED
           in[n % IN_SLOTS].version = n * 2 + 1; /* B3 */
#endif
           in[n % IN_SLOTS].cell[0] = n;
           in[n % IN_SLOTS].cell[1] = n;
           in[n % IN_SLOTS].version = n * 2; /* B4 */
           published = n; /* B6 */
           n = 0
        od
    } unless {
        atomic { dies[me] -> dies[me] = 0; n = 0; goto writing }
    }
    writers_over++
}

/* ---- shm_netflux_snapshot ------------------------------------------------------------------- */

proctype Reader()
{
    byte left = LOOKS, n, first, second, last;
    do
    :: left == 0 -> break
    :: left > 0 ->
        atomic { left--; n = published } /* B6 */
        if
        :: n == 0 -> goto over
        :: else
        fi;
        if
        :: in[n % IN_SLOTS].version == n * 2 /* B5 */
        :: else -> goto over
        fi;
        first = in[n % IN_SLOTS].cell[0];
        second = in[n % IN_SLOTS].cell[1];
        if
        :: in[n % IN_SLOTS].version == n * 2 /* B5 */
        :: else -> goto over
        fi;
        atomic {
            assert(first == n && second == n);
            assert(n >= last);
            last = n;
            looks_done++
        }
over:   atomic { n = 0; first = 0; second = 0 }
    od
}

proctype Judge()
{
    timeout ->
    assert(writers_over == 1);
    assert(published == 0 || in[published % IN_SLOTS].version == published * 2);
    assert(published == 0 || in[published % IN_SLOTS].cell[1] == published);
    assert(CRASHES > 0 || published == PUTS)
}

#endif

proctype Fate()
{
    byte left = CRASHES;
    do
    :: left > 0 && !dies[1] && writers_over == 0 -> dies[1] = 1; left--
    :: left > 0 && SLOTS > 1 && !dies[2] && writers_over == 0 -> dies[2] = 1; left--
    :: break
    od
}

init {
    atomic {
        run Writer(1);
#if SLOTS > 1
        run Writer(2);
#endif
        run Reader();
        run Fate();
        run Judge()
    }
}
