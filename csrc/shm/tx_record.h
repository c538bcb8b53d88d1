/* tx_record.h: arithmetic of tx records and places, shared by the two
 * sides of the tx ring. Pure. */
#ifndef SHM_TX_RECORD_H
#define SHM_TX_RECORD_H

#include "shm/shm_layout.h"

/* Addresses before the payload, at most. */
#define TX_RECORD_ADDRESSES 2u

static inline uint32_t tx_record_addresses(unsigned flags)
{
    return (flags & SHM_TX_HAS_DEST ? 1u : 0u) + (flags & SHM_TX_HAS_SOURCE ? 1u : 0u);
}

/* Length of a record in units, including the addresses that it has. */
static inline uint32_t tx_record_units(uint32_t payload_bytes, uint32_t addresses)
{
    size_t bytes = sizeof(shm_tx_record_t) + addresses * sizeof(shm_addr_t) + payload_bytes;
    return (uint32_t)((bytes + SHM_UNIT_BYTES - 1) / SHM_UNIT_BYTES);
}

/* Units from place to the ring's end that a record of need units must skip, or 0 if it fits. */
static inline uint32_t tx_pad_units(uint32_t place, uint32_t need, uint32_t units)
{
    uint32_t to_end = units - place;
    return need <= to_end ? 0 : to_end;
}

/* Units between two places, going forward. Equal places mean empty: the reserve keeps a ring from
 * ever being full to the last unit. */
static inline uint32_t tx_used_units(uint32_t from, uint32_t to, uint32_t units)
{
    return to >= from ? to - from : units - from + to;
}

/* What producers leave free: room for the longest record and its padding at the ring's end. */
static inline uint32_t tx_reserve_units(uint32_t max_payload_bytes)
{
    return 2 * tx_record_units(max_payload_bytes, TX_RECORD_ADDRESSES);
}

/* The shortest record: its header. */
#define TX_RECORD_LEAST_UNITS ((uint32_t)(sizeof(shm_tx_record_t) / SHM_UNIT_BYTES))

static inline rt_a64_t *tx_word_at(uint8_t *data, uint32_t place)
{
    return (rt_a64_t *)(data + (size_t)place * SHM_UNIT_BYTES);
}

#endif
