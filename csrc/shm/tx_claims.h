/* tx_claims.h: claims that their producers have not finished: how long they are, whom they belong to, and which
 * of them the worker has passed. Part of tx_queue.c. Explained in tx_ring.c ("Halting", "Dying").
 *
 * Everything here is found out in small steps, TX_SLOTS_PER_LOOK slots each: what a client announces in a
 * thousand slots must not hold up the worker. */
#ifndef SHM_TX_CLAIMS_H
#define SHM_TX_CLAIMS_H

#include "shm/shm_segment.h"
#include "shm/tx_record.h"

#define TX_CLAIM_PATIENCE_NS (30 * RT_NS_PER_US) /* before an unfinished claim is passed */
#define TX_OWNER_PATIENCE_NS (5 * RT_NS_PER_MS)  /* before, and between, questions whether its owner lives */
#define TX_OWNER_DEAD UINT32_MAX                 /* shm_producer_t.owner: known dead, claim unresolved */
#define TX_NO_SLOT UINT32_MAX

enum { TX_OPEN_CLAIMS = 32, TX_SLOTS_PER_LOOK = 64, TX_OWNERS_PER_LOOK = 4, TX_LENGTHS = 16, TX_RECORDS_PER_LOOK = 256 };

/* A claim that was passed: its word stands in the ring with state CLAIMED, and with its length. */
typedef struct tx_open_claim {
    uint64_t ref; /* of its record, behind its padding */
    uint64_t word;
    shm_cursor_t announced; /* by its owner: the tail value it was made from */
    int64_t since_mono_ns;
    int64_t ask_mono_ns; /* when to ask next whether the owner lives */
    uint32_t slot;       /* announces it, and was found alive, or TX_NO_SLOT */
    uint32_t next_slot;  /* those before it do not announce it, or are dead */
    uint64_t walk_ref;   /* all are dead, and it replaces another: looked for from here, */
    uint64_t walk_until; /* to here, or 0: not begun */
} tx_open_claim_t;

/* One length that somebody announced for the claim at the read cursor. */
typedef struct tx_length {
    uint32_t units;
    bool moves; /* announced by a worker: a relocation, which uses no sequence */
    bool leads; /* the next claim begins where it ends */
} tx_length_t;

/* The search for the length of a claim whose word is still empty. Each round takes the TX_LENGTHS shortest
 * lengths above those of the round before. */
typedef struct tx_search {
    uint32_t next_slot;
    uint32_t above; /* key of the longest one of the rounds before, or 0 in the first one */
    bool know_lengths; /* the search now looks for slots that announce what follows */
    bool more;         /* there are longer ones than found[] has room for */
    unsigned count;
    tx_length_t found[TX_LENGTHS]; /* shortest first */
} tx_search_t;

/* A living producer that keeps a claim unfinished, or did. */
typedef struct tx_halted {
    uint32_t slot;
    uint32_t pid; /* as the slot says */
    uint64_t sequence;
    int64_t halted_ns;
} tx_halted_t;

typedef struct tx_queue tx_queue_t;

/* Looks for the length of the claim at the read cursor, whose word is empty. Returns units, padding at the
 * ring's end included, and *moves. 0: it is not known yet. */
uint32_t tx_claims_search(tx_queue_t *q, bool *moves);

/* Whether somebody's announcement stands for a claim that was passed. */
bool tx_claims_is_open(const tx_queue_t *q, shm_cursor_t announced);

/* One step towards knowing that the owner of a passed claim is dead. Then its word becomes ABORTED, with flag
 * ORPHAN, or COMMITTED if it has taken another's place. Returns whether one did. */
bool tx_claims_resolve(tx_queue_t *q, int64_t now_mono_ns);

/* Whether a passed claim is about to take another packet's place. */
bool tx_claims_replace(const tx_queue_t *q);

/* Notes the halted owner of a claim for tx_queue_halted. */
void tx_claims_tell(tx_queue_t *q, const tx_open_claim_t *o, int64_t now_mono_ns);

#endif
