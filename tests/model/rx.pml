/*
 * rx.pml: the rx ring as csrc/shm/rx_ring.c plays it: one writer, which may die and be followed by
 * another; a broadcast reader; two shared readers, which may die. One statement is one access to
 * shared memory. The payload of a packet is one cell per unit, all of the same value, so that a torn
 * copy shows.
 *
 * A run defines:
 *   UNITS   length of the ring                START     place of the first record
 *   PUTS    packets the writer writes         MAX_NEED  longest record, in units
 *   BATCH   packets it writes at most before it publishes them
 *   BROADCAST, SHARED  readers of each kind (0 .. 1, 0 .. 2)
 *   W_CRASHES, R_CRASHES  how many writers, shared readers may die
 *   WAIT    1: SHM_OVERFLOW_WAIT
 */
#ifndef UNITS
#define UNITS 4
#endif
#ifndef START
#define START 3
#endif
#ifndef PUTS
#define PUTS 4
#endif
#ifndef MAX_NEED
#define MAX_NEED 2
#endif
#ifndef BATCH
#define BATCH 1
#endif
#ifndef BROADCAST
#define BROADCAST 1
#endif
#ifndef SHARED
#define SHARED 0
#endif
#ifndef W_CRASHES
#define W_CRASHES 0
#endif
#ifndef R_CRASHES
#define R_CRASHES 0
#endif
#ifndef WAIT
#define WAIT 0
#endif

#define MAX_SEQ (PUTS + W_CRASHES * (BATCH + 1) + 1)
#define GENERATION 32 /* cell: sequence + 32 * writer, so that two writers' packets differ */

typedef word_t {
    byte seq;
    byte units;
    bit pad
};

word_t word[UNITS];
byte cell[UNITS];
byte tail_seq, tail_place = START;
byte floor_seq, floor_place = START;
byte shared_seq, shared_place = START;
byte slot_seq;           /* cursor of the broadcast reader, as its slot shows it */
byte shared_lost;

byte taken, lost;        /* of the broadcast reader */
byte got[MAX_SEQ];       /* by how many shared readers a packet was taken */
byte shared_taken;
byte uncounted;          /* jumped over by a shared reader that died before it could add them up */
bit writer_dies, writer_done, reader_dies[3];
byte readers_over;
hidden byte k;

#define USED(from, to) ((to + UNITS - from) % UNITS)
#define AHEAD(place, by) ((place + (by)) % UNITS)

/* ---- rx_writer_put, rx_writer_publish ------------------------------------------------------- */

#define FITS (USED(f_place, t_place) + pad + need < UNITS)

inline evict_oldest()
{
#ifdef MUTANT_PADDING_ALONE
    f_seq = f_seq + 1 - word[f_place].pad;
    f_place = AHEAD(f_place, word[f_place].units)
#else
    if
    :: word[f_place].pad -> f_place = word[0].units
    :: else -> f_place = AHEAD(f_place, word[f_place].units)
    fi;
    f_seq++
#endif
}

proctype Writer()
{
    byte t_seq, t_place = START, f_seq, f_place = START, left = PUTS, unpublished, generation;
    byte need, pad, at, z;
    bit moved_floor;
serving:
    {
        do
        :: atomic { left == 0 && unpublished == 0 -> break }
        :: atomic { unpublished > 0 ->
                tail_seq = t_seq; /* X1 */
                tail_place = t_place;
                unpublished = 0
           }
        :: atomic { left > 0 && unpublished < BATCH ->
                if
                :: need = 1
                :: MAX_NEED > 1 -> need = 2
                :: MAX_NEED > 2 -> need = 3
                fi;
                pad = (need <= UNITS - t_place -> 0 : UNITS - t_place)
           }
#ifdef MUTANT_FLOOR_LATE
#else
           /* make_room, evict_oldest */
           atomic {
#if WAIT
                FITS || slot_seq > f_seq;
#endif
                do
                :: !FITS && (!WAIT || f_seq < slot_seq) ->
                    moved_floor = 1;
                    evict_oldest()
                :: !FITS && WAIT && f_seq >= slot_seq -> goto store_floor
                :: FITS -> break
                od
           }
store_floor:
           if
           :: moved_floor -> atomic { floor_seq = f_seq; floor_place = f_place; moved_floor = 0 } /* X3 */
           :: else
           fi;
#endif
#if WAIT
           if
           :: !FITS -> goto serving /* -ENOBUFS: again, when the reader has moved */
           :: else
           fi;
#endif
           if
           :: pad > 0 ->
                d_step { word[t_place].pad = 1; word[t_place].units = pad; word[t_place].seq = t_seq }
           :: else
           fi;
           at = (pad > 0 -> 0 : t_place);
           d_step { word[at].pad = 0; word[at].units = need; word[at].seq = t_seq }
           do
           :: z < need -> atomic { cell[AHEAD(at, z)] = t_seq + GENERATION * generation; z++ }
           :: else -> break
           od;
#ifdef MUTANT_FLOOR_LATE
           atomic {
                do
                :: !FITS ->
                    moved_floor = 1;
                    evict_oldest()
                :: FITS -> break
                od;
                floor_seq = f_seq; floor_place = f_place; moved_floor = 0
           }
#endif
           atomic {
                t_seq++;
                t_place = AHEAD(at, need);
                unpublished++;
                left--;
                z = 0; need = 0; pad = 0; at = 0
           }
        od
    } unless {
        /* rx_writer_init of the next one */
        atomic {
            writer_dies ->
            writer_dies = 0;
            generation++;
            z = 0; need = 0; pad = 0; at = 0; moved_floor = 0; unpublished = 0;
            t_seq = tail_seq; t_place = tail_place; f_seq = floor_seq; f_place = floor_place;
#ifndef MUTANT_FLOOR_AHEAD
            if /* skip_unpublished */
            :: f_seq > t_seq || (f_seq == t_seq && f_place != t_place) ->
                f_seq++;
                t_seq = f_seq; t_place = f_place;
                floor_seq = f_seq;
                tail_seq = t_seq; tail_place = t_place
            :: else
            fi;
#endif
            goto serving
        }
    }
    writer_done = 1
}

/* ---- copy_record and still_whole, for both kinds of reader ------------------------------------- */

inline copy_record()
{
    atomic {
        at = c_place;
        w_seq = word[at].seq;
        units = word[at].units;
        is_pad = word[at].pad
    }
    if
    :: is_pad -> atomic { at = 0; w_seq = word[0].seq; units = word[0].units; is_pad = 0 }
    :: else
    fi;
    sound = w_seq == c_seq && at + units <= UNITS && units > 0;
    if
    :: sound ->
        first = cell[at];
        whole = 1;
        if
        :: units > 1 -> whole = cell[at + 1] == first
        :: else
        fi;
        if
        :: units > 2 -> whole = whole && cell[at + 2] == first
        :: else
        fi
    :: else
    fi
}

/* Accepted: then it must be one packet, the one the cursor names. */
inline check_copy()
{
    assert(sound && whole && first % GENERATION == c_seq)
}

#define STILL_WHOLE (c_seq >= floor_seq) /* X4 */

/* ---- rx_reader_next, broadcast ----------------------------------------------------------------- */

proctype Broadcast()
{
    byte c_seq, c_place = START, v_seq, f_seq, f_place, at, w_seq, units, first;
    bit is_pad, sound, whole;
    do
    :: atomic { writer_done && c_seq >= tail_seq -> break }
    :: atomic { tail_seq > c_seq -> v_seq = tail_seq } /* X2 */
look:  atomic { f_seq = floor_seq; f_place = floor_place }
       if
       :: c_seq < f_seq ->
            atomic { lost = lost + (f_seq - c_seq); c_seq = f_seq; c_place = f_place }
       :: else ->
            copy_record();
            if
#ifdef MUTANT_NO_RECHECK
            :: true ->
#else
            :: STILL_WHOLE ->
#endif
                atomic {
                    check_copy();
                    taken++;
                    c_place = AHEAD(at, units);
                    c_seq++;
                    slot_seq = c_seq
                }
            :: else
            fi
       fi;
       atomic { at = 0; w_seq = 0; units = 0; first = 0; sound = 0; whole = 0; is_pad = 0;
                f_seq = 0; f_place = 0; v_seq = 0 }
    od;
    atomic { readers_over++; assert(taken + lost == c_seq) }
}

/* ---- rx_reader_next, shared ---------------------------------------------------------------------- */

proctype Shared(byte me)
{
    byte c_seq, c_place, v_seq, f_seq, f_place, at, w_seq, units, first;
    bit is_pad, sound, whole, jumped;
    {
        do
        :: atomic { writer_done && shared_seq >= tail_seq -> break }
        :: atomic { tail_seq > shared_seq -> v_seq = tail_seq } /* X2 */
           atomic { f_seq = floor_seq; f_place = floor_place }
           atomic { c_seq = shared_seq; c_place = shared_place }
           if
           :: c_seq >= v_seq -> skip
           :: c_seq < v_seq && c_seq < f_seq ->
                atomic {
                    if
                    :: shared_seq == c_seq && shared_place == c_place ->
                        shared_seq = f_seq; shared_place = f_place; jumped = 1;
                        uncounted = uncounted + (f_seq - c_seq)
                    :: else
                    fi
                }
                if
                :: jumped ->
                    atomic {
                        shared_lost = shared_lost + (f_seq - c_seq);
                        uncounted = uncounted - (f_seq - c_seq)
                    }
                :: else
                fi
           :: c_seq < v_seq && c_seq >= f_seq ->
                copy_record();
                if
                :: !STILL_WHOLE -> skip
                :: STILL_WHOLE && !sound ->
                    /* Damaged, unless another has moved on meanwhile. */
                    assert(shared_seq != c_seq)
                :: STILL_WHOLE && sound ->
                    atomic {
                        if
#ifdef MUTANT_BLIND_TAKE
                        :: true ->
#else
                        :: shared_seq == c_seq && shared_place == c_place ->
#endif
                            check_copy();
                            shared_seq = c_seq + 1;
                            shared_place = AHEAD(at, units);
                            got[c_seq]++;
                            assert(got[c_seq] == 1);
                            shared_taken++
                        :: else
                        fi
                    }
                fi
           fi;
           atomic { at = 0; w_seq = 0; units = 0; first = 0; sound = 0; whole = 0; is_pad = 0;
                    jumped = 0; c_seq = 0; c_place = 0; f_seq = 0; f_place = 0; v_seq = 0 }
        od
    } unless { reader_dies[me] }
    readers_over++
}

proctype Fate()
{
    byte w_left = W_CRASHES, r_left = R_CRASHES;
    do
    :: w_left > 0 && !writer_dies && !writer_done -> writer_dies = 1; w_left--
    :: r_left > 0 && !reader_dies[1] -> reader_dies[1] = 1; r_left--
    :: r_left > 0 && SHARED > 1 && !reader_dies[2] -> reader_dies[2] = 1; r_left--
    :: break
    od
}

/* Nobody can go on: lost, taken and still waiting add up to what was written. */
proctype Judge()
{
    timeout ->
    assert(writer_done);
    assert(readers_over == BROADCAST + SHARED);
    assert(BROADCAST == 0 || taken + lost == tail_seq);
    assert(!(WAIT && BROADCAST) || lost == 0);
    assert(SHARED == 0 || shared_taken + shared_lost + uncounted == shared_seq);
    assert(SHARED <= R_CRASHES || shared_seq == tail_seq);
    assert(uncounted == 0 || R_CRASHES > 0)
}

init {
    atomic {
        run Writer();
#if BROADCAST
        run Broadcast();
#endif
#if SHARED > 0
        run Shared(1);
#endif
#if SHARED > 1
        run Shared(2);
#endif
        run Fate();
        run Judge()
    }
}
