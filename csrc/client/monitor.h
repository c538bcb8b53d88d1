/* monitor.h: reads everything about a channel at once, again and again, as rtstat does.
 *
 * A reading is a row of 64-bit words: the channel's state, its counters, summaries of its
 * histograms, its engine's numbers, its readers.
 *
 *   common words | histograms | words of the engine | its histograms | a row per attached reader
 *
 * Segments are mapped for reading only, and their contents are not trusted: sizes come from the
 * private, checked copy of the configuration. Every word may have any value.
 *
 * Each histogram is kept from one reading to the next, so that each reading also has the entries
 * between the two: the interval. A histogram that never had an entry needs no memory.
 *
 * A monitor belongs to one thread at a time. */
#ifndef CLIENT_MONITOR_H
#define CLIENT_MONITOR_H

#include "base/rt_hist.h"
#include "shm/shm_segment.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- names of words ------------------------------------------------------------------------- */

typedef struct monitor_word {
    const char *name;
    const char *unit;
    const char *none; /* the number that stands for "not known"; "": there is none */
    const char *text;
    bool counts; /* counts up since the channel was opened or reset */
} monitor_word_t;

#define MONITOR_NOW(id, unit, text) {#id, #unit, "", text, false},
#define MONITOR_COUNTER(id, unit, text) {#id, #unit, "", text, true},
#define MONITOR_GAUGE(id, unit, none, text) {#id, #unit, #none, text, false},
#define MONITOR_HIST(id, text) {#id, "ns", "", text, true},

/* The words of a channel or of an engine, and the histograms whose words follow them. */
typedef struct monitor_names {
    const monitor_word_t *words;
    size_t count;
    const monitor_word_t *hists;
    size_t hist_count;
} monitor_names_t;

/* The words that all channels have. */
void monitor_common_names(monitor_names_t *out);

/* The words of an engine. None for an engine without numbers. */
void monitor_engine_names(const char *engine, monitor_names_t *out);

/* --- histograms ----------------------------------------------------------------------------- */

/* The summary of a histogram. Times in ns, 0 while there is no entry. The interval is the time
 * between the previous reading and this one. Its maximum is exact to 1.6 %. */
typedef enum monitor_hist_word {
    MONITOR_HIST_count,
    MONITOR_HIST_sum_ns,
    MONITOR_HIST_min_ns,
    MONITOR_HIST_max_ns,
    MONITOR_HIST_p50_ns,
    MONITOR_HIST_p90_ns,
    MONITOR_HIST_p99_ns,
    MONITOR_HIST_p999_ns,
    MONITOR_HIST_interval_count,
    MONITOR_HIST_interval_max_ns,
    MONITOR_HIST_interval_p50_ns,
    MONITOR_HIST_interval_p90_ns,
    MONITOR_HIST_interval_p99_ns,
    MONITOR_HIST_interval_p999_ns,
    MONITOR_HIST_WORDS
} monitor_hist_word_t;

typedef struct monitor_counts {
    uint64_t n[RT_HIST_BUCKETS];
} monitor_counts_t;

/* One histogram between readings. All zero: never had an entry. */
typedef struct monitor_hist {
    monitor_counts_t *total;    /* at the last reading */
    monitor_counts_t *interval; /* entries between the last two; stored after the total */
    monitor_counts_t *base; /* subtracted from the total since monitor_hist_rebase; NULL: nothing */
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t base_sum_ns;
    unsigned first; /* buckets outside this range are empty */
    unsigned last;
    bool interval_used;
    bool told; /* words are those of the last reading */
    int64_t words[MONITOR_HIST_WORDS];
} monitor_hist_t;

/* Copies *from, which may change meanwhile, and fills words[MONITOR_HIST_WORDS]. is_first: there
 * was no previous reading, so there is no interval. Returns 0, -ENOMEM. */
int monitor_hist_read(monitor_hist_t *h, const rt_hist_t *from, bool is_first, int64_t *words);

/* Forgets everything, because the histogram was emptied, and frees its memory. */
void monitor_hist_forget(monitor_hist_t *h);

/* From now on only entries after the last reading count. Returns 0, -ENOMEM. */
int monitor_hist_rebase(monitor_hist_t *h);

/* Copies the buckets of the interval or of the total to out[RT_HIST_BUCKETS]. */
void monitor_hist_copy(const monitor_hist_t *h, bool interval, uint64_t *out);

/* --- engines -------------------------------------------------------------------------------- */

#define MONITOR_ENGINE_HISTS 4u /* at most */

/* How to read the words of an engine. */
typedef struct monitor_engine {
    const char *name; /* of the engine */
    monitor_names_t names;
    uint32_t first_counter; /* from this word on they count up */
    uint32_t counters;
    uint64_t (*bytes)(const shm_config_t *c); /* of the engine's part that are read */
    void (*read)(const shm_segment_t *s, int64_t *words);
    const rt_hist_t *(*hist)(const shm_segment_t *s, uint32_t i); /* NULL: it has none */
} monitor_engine_t;

/* The engine by name. For an engine without numbers, one without words. */
const monitor_engine_t *monitor_engine_of(const char *name);

/* --- channels ------------------------------------------------------------------------------- */

/* The words of each attached reader. */
typedef enum monitor_reader_word {
    MONITOR_READER_SLOT,
    MONITOR_READER_PID,
    MONITOR_READER_TAKEN,
    MONITOR_READER_LOST,
    MONITOR_READER_WAITING,
    MONITOR_READER_WORDS
} monitor_reader_word_t;

/* One reading of a mapped segment, without memory of earlier ones: the words of histograms are 0.
 * row has monitor_most_words places. Returns how many words the row has; -EINVAL, -EPROTO with a
 * text. */
size_t monitor_most_words(const shm_segment_t *s);
int monitor_look(const shm_segment_t *s, int64_t *row);

/* The words of its engine alone, which the row has behind the channel's. */
int monitor_look_engine(const shm_segment_t *s, int64_t *words);

/* A histogram in shared memory. Those of the engine follow the channel's. NULL: there is none. */
const rt_hist_t *monitor_hist(const shm_segment_t *s, unsigned number);

typedef struct monitor {
    shm_segment_t s;
    size_t words; /* most words in a row */
    const monitor_engine_t *engine;
    monitor_hist_t hists[SHM_HIST_TOTAL + MONITOR_ENGINE_HISTS];
    int64_t *base; /* words as they were at monitor_rebase; NULL: never */
    int64_t *last; /* as they were at the last reading, before base was subtracted */
    uint64_t reset_mono_ns;
    bool used;
} monitor_t;

/* Maps the segment of this descriptor, which stays the caller's. *m is all zero. Returns 0, -errno
 * with a text. Call monitor_close in either case. */
int monitor_open(monitor_t *m, int fd);

void monitor_close(monitor_t *m);

/* Fills row[m->words]. Returns how many words it has; -ENOMEM, or -EPROTO with a text if the file
 * was cut short. */
int monitor_read(monitor_t *m, int64_t *row);

/* Copies the buckets of a histogram, as monitor_hist_copy. Those of the engine follow the
 * channel's. Returns 0, -EINVAL: there is none of this number. */
int monitor_buckets(const monitor_t *m, unsigned number, bool interval, uint64_t *out);

/* From now on only what comes after the last reading counts. Returns 0, -ENOMEM. */
int monitor_rebase(monitor_t *m);

#endif
