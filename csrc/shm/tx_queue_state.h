/* tx_queue_state.h: what the worker knows about a tx ring. Shared by tx_queue.c and its parts. */
#ifndef SHM_TX_QUEUE_STATE_H
#define SHM_TX_QUEUE_STATE_H

#include "shm/shm_segment.h"
#include "shm/tx_record.h"

#define TX_CLAIM_TIMEOUT_NS (30 * RT_NS_PER_US) /* before an unfinished claim is passed */
#define TX_OWNER_CHECK_NS (5 * RT_NS_PER_MS)    /* before and between checks
                                                   whether its owner lives */
/* shm_producer_t.owner: known dead, claim unresolved */
#define TX_OWNER_DEAD UINT32_MAX
#define TX_NO_SLOT UINT32_MAX

enum { TX_OPEN_CLAIMS = 32, TX_SLOTS_PER_SEARCH = 64, TX_OWNERS_PER_SEARCH = 4, TX_LENGTHS = 16, TX_RECORDS_PER_SEARCH = 256 };

/* A claim that was passed: its word in the ring has state CLAIMED and its length. */
typedef struct tx_open_claim {
    uint64_t ref; /* of its record, after its padding */
    uint64_t word;
    shm_cursor_t announced; /* by its owner: the tail value that the claim was made from */
    int64_t since_mono_ns;
    int64_t ask_mono_ns; /* when to check next whether the owner lives */
    uint32_t slot;       /* a slot that announces it and whose owner lived, or TX_NO_SLOT */
    uint32_t next_slot;  /* the slots before it do not announce it, or are dead */
    uint64_t walk_ref;   /* all are dead, and it replaces another: the
                            search for that one is here */
    uint64_t walk_until; /* and ends here, or 0: not begun */
} tx_open_claim_t;

/* One announced length for the claim at the read cursor. */
typedef struct tx_length {
    uint32_t units;
    bool moves; /* announced by a worker: a relocation, which uses no sequence */
    bool leads; /* the next claim begins where it ends */
} tx_length_t;

/* The search for the length of a claim whose word is still empty. Each round takes the TX_LENGTHS
 * shortest lengths above those of the previous round. */
typedef struct tx_search {
    uint32_t next_slot;
    uint32_t above; /* key of the longest length of the previous rounds, or 0 in the first one */
    bool know_lengths; /* the search now looks for slots that announce what follows */
    bool more;         /* there are more lengths than found[] has room for */
    unsigned count;
    tx_length_t found[TX_LENGTHS]; /* shortest first */
} tx_search_t;

/* A living producer that has left a claim unfinished, or had. */
typedef struct tx_halted {
    uint32_t slot;
    uint32_t pid; /* as the slot says */
    uint64_t sequence;
    int64_t halted_ns;
} tx_halted_t;

/* Whether the owner of a producer slot lives. Called when needed, at most once in some
 * milliseconds. */
typedef bool (*tx_slot_alive_t)(void *of, uint32_t slot);

/* Rings the bells of the watchers (ctl_msg.h). */
typedef void (*tx_ring_watchers_t)(void *of);

/* A time in which the worker waited at an unfinished claim, and the records that waited for it. */
typedef struct tx_halt {
    uint64_t from_ref, until_ref;
    int64_t from_mono_ns, until_mono_ns;
} tx_halt_t;

enum { TX_HALTS = 8 };

typedef struct tx_queue {
    shm_segment_t *segment;
    shm_tx_cursors_t *cursors;
    uint8_t *data;
    uint32_t units;
    uint32_t max_payload_bytes;
    uint64_t head_ref;  /* oldest record not freed */
    uint64_t read_ref;  /* next record to take in */
    uint64_t lap_ref;   /* the latest ref of place 0 up to read_ref */
    uint32_t read_seq;  /* its expected sequence */
    shm_cursor_t tail_seen; /* avoids reading the producers' cache line for every record */
    uint64_t live_units; /* taken in and not finished */
    uint64_t sequence_high;
    uint64_t finished;
    uint64_t finished_announced; /* of those, how many sleeping producers were told of */
    uint64_t replay_until_ref;   /* takeover: records before it had been taken in before */
    uint64_t moved_until_ref;    /* takeover: relocated records before
                                    it are not counted as waiting */
    uint64_t cancels_seen; /* value of the clients' count at the beginning of the last search */
    uint64_t search_ref;   /* the search for cancelled records continues here */
    uint64_t search_end;   /* and ends here */
    uint64_t pad_ref;      /* of the padding read last */
    int64_t stuck_since_mono_ns; /* since when the record at the read cursor is unfinished, or 0 */
    uint64_t there_until_ref;    /* all claims before it ... */
    int64_t there_since_mono_ns; /* ... were there then */
    tx_search_t search;          /* for its length */
    tx_open_claim_t open[TX_OPEN_CLAIMS]; /* claims that were passed */
    unsigned open_count;
    unsigned open_turn;
    tx_halt_t halts[TX_HALTS]; /* the latest */
    unsigned halts_made;
    uint64_t halts_until_ref; /* no record after it waited for one of them */
    tx_halted_t halted;
    bool halted_unreported;
    uint32_t damage; /* invalid contents found in the ring: only a client
                        that overwrites it causes them */
    uint64_t replaced_until_ref; /* after all claims that may have taken a packet's place */
    uint32_t dead_producers; /* slots whose owner is dead and whose claim is unresolved */
    uint32_t next_dead;      /* the search for slots to free continues here */
    uint32_t bell_number; /* of the last arming, times 4 */
    tx_slot_alive_t slot_alive;
    void *slot_alive_of;
    tx_ring_watchers_t ring_watchers; /* NULL: there are none */
    void *watchers_of;
} tx_queue_t;

typedef struct tx_item {
    uint64_t ref;
    uint64_t sequence;
    int64_t due_ns;      /* 0: as soon as possible */
    int64_t enqueued_mono_ns;
    const uint8_t *payload;
    uint32_t payload_bytes;
    uint16_t producer;
    uint8_t flags;
    shm_addr_t dest;   /* family 0: the channel's remote */
    shm_addr_t source; /* family 0: the kernel chooses it */
    /* When it waited behind a claim that its producer did not finish,
     * or was that claim. 0: never. */
    int64_t halted_from_mono_ns;
    int64_t halted_until_mono_ns;
} tx_item_t;

/* Nearly all refs in question are in the lap of the read cursor. This saves a 64-bit division, and
 * there are a dozen of these in the life of a packet. */
static inline uint32_t tx_place_of(const tx_queue_t *q, uint64_t ref)
{
    uint64_t in_lap = ref - q->lap_ref;
    return (uint32_t)(__builtin_expect(in_lap < q->units, 1) ? in_lap : ref % q->units);
}

/* Where the ring ends now. Once read_ref is there, all that was queued or moved until now has been
 * taken in. */
static inline uint64_t tx_queue_tail_ref(const tx_queue_t *q)
{
    uint32_t tail = shm_cursor_place(rt_load_acquire(&q->cursors->tail));
    if (tail >= q->units) /* overwritten */
        return q->read_ref;
    return q->read_ref + tx_used_units(tx_place_of(q, q->read_ref), tail, q->units);
}

static inline rt_a64_t *tx_word_of(const tx_queue_t *q, uint64_t ref)
{
    return tx_word_at(q->data, tx_place_of(q, ref));
}

/* Whether a record of this word can be at ref within left units. */
static inline bool tx_word_fits(const tx_queue_t *q, uint64_t ref, uint64_t word, uint64_t left)
{
    uint32_t units = shm_word_units(word);
    return units >= TX_RECORD_LEAST_UNITS && units <= left && tx_place_of(q, ref) + units <= q->units;
}

#endif
