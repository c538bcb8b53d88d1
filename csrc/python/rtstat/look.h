/* look.h: rtstat._look, one look at a channel's segment or a worker's page.
 *
 * A look is a row of 64-bit words, copied in one call: the channel's facts, its counters, summaries
 * of its histograms, its engine's numbers, its readers. Python gets the row as bytes and converts a
 * word to a number when it is needed.
 *
 *   channel   common words | engine's words | reader_words [readers attached]
 *   worker    worker words
 *
 * Segments are mapped for reading only, and their contents are not trusted: sizes come from the
 * private, checked copy of the configuration. Every word may have any value.
 *
 * Each histogram is kept from one look to the next, so that each look also has the entries between
 * the two: the interval. A histogram that never had an entry needs no memory. */
#ifndef PYTHON_RTSTAT_LOOK_H
#define PYTHON_RTSTAT_LOOK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/rt_hist.h"
#include "shm/shm_segment.h"

#include <stdbool.h>
#include <stdint.h>

/* --- histograms ----------------------------------------------------------------------------- */

/* The summary of a histogram; X(word). Times in ns, 0 while there is no entry. The interval is the
 * time between the previous look and this one. Its maximum is exact to 1.6 %. */
#define LOOK_HIST_WORDS(X) \
    X(count)               \
    X(sum_ns)              \
    X(min_ns)              \
    X(max_ns)              \
    X(p50_ns)              \
    X(p90_ns)              \
    X(p99_ns)              \
    X(p999_ns)             \
    X(interval_count)      \
    X(interval_max_ns)     \
    X(interval_p50_ns)     \
    X(interval_p90_ns)     \
    X(interval_p99_ns)     \
    X(interval_p999_ns)

typedef enum look_hist_word {
#define LOOK_HIST_WORD_ID(word) LOOK_HIST_##word,
    LOOK_HIST_WORDS(LOOK_HIST_WORD_ID)
#undef LOOK_HIST_WORD_ID
        LOOK_HIST_WORD_TOTAL
} look_hist_word_t;

typedef struct look_buckets {
    uint64_t n[RT_HIST_BUCKETS];
} look_buckets_t;

/* One histogram between looks. All zero: never had an entry. */
typedef struct look_hist {
    look_buckets_t *total;    /* at the last look */
    look_buckets_t *interval; /* entries between the last two looks; stored after the total */
    look_buckets_t *base; /* subtracted from the total since look_hist_rebase; NULL: nothing */
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t base_sum_ns;
    unsigned first; /* buckets outside this range are empty */
    unsigned last;
    bool interval_used;
    bool told; /* words are those of the last look */
    int64_t words[LOOK_HIST_WORD_TOTAL];
} look_hist_t;

/* Copies *from, which may change meanwhile, and fills words[LOOK_HIST_WORD_TOTAL]. is_first: there
 * was no previous look, so there is no interval. Returns 0, -ENOMEM. */
int look_hist_update(look_hist_t *h, const rt_hist_t *from, bool is_first, int64_t *words);

/* Forgets everything, because the histogram was emptied. */
void look_hist_forget(look_hist_t *h);

/* From now on only entries after the last look count. Returns 0, -ENOMEM. */
int look_hist_rebase(look_hist_t *h);

/* [(bucket's largest value in ns, entries)] without the empty ones, of the interval or of the
 * total. NULL with an exception set. */
PyObject *look_hist_list(const look_hist_t *h, bool interval);

/* --- names of words ------------------------------------------------------------------------- */

typedef struct look_word {
    const char *name;
    const char *unit;
    const char *none; /* the number that stands for "not known"; "": there is none */
    const char *text;
    bool counts; /* counts up since the channel was opened or reset */
} look_word_t;

#define LOOK_NOW(id, unit, text) {#id, #unit, "", text, false},
#define LOOK_COUNTER(id, unit, text) {#id, #unit, "", text, true},
#define LOOK_GAUGE(id, unit, none, text) {#id, #unit, #none, text, false},

/* Appends (name, unit, none or None, text, counts) to a list. For a histogram it appends all of its
 * words. Returns 0, -1 with an exception set. */
int look_add_word(PyObject *list, const look_word_t *word);
int look_add_words(PyObject *list, const look_word_t *words, size_t count);
int look_add_hist(PyObject *list, const char *name, const char *text);

/* --- engines -------------------------------------------------------------------------------- */

#define LOOK_ENGINE_WORDS 192u /* at most */
#define LOOK_ENGINE_HISTS 4u   /* at most */

/* How to read the words of an engine. */
typedef struct look_engine {
    const char *name; /* of the engine */
    uint32_t words;   /* how many, including those of histograms, which come last */
    uint32_t hists;
    uint32_t first_counter; /* from this word on they count up */
    uint32_t counters;
    /* Bytes of the engine's part that are read. */
    uint64_t (*bytes)(const shm_config_t *c);
    void (*read)(const shm_segment_t *s, int64_t *words);
    const rt_hist_t *(*hist)(const shm_segment_t *s, uint32_t i); /* NULL: it has none */
    int (*add_names)(PyObject *list);
} look_engine_t;

/* The engine by name. For an engine without numbers, one without words. */
const look_engine_t *look_engine_of(const char *name);

/* {engine: [row of each word, as look_add_word makes it]}. NULL with an exception set. */
PyObject *look_engine_words(void);

/* --- Python types --------------------------------------------------------------------------- */

int look_segment_init(PyObject *module);
int look_page_init(PyObject *module);

/* Opens the path that is the only argument, for reading, without waiting and without following
 * links. Returns the descriptor, or -1 with OSError or TypeError set. */
int look_open(PyObject *args, PyObject *kwargs);

/* OSError(-rc, text of the last error). Returns NULL. */
PyObject *look_refuse(int rc);

/* A char array of shared memory as text. Characters outside ASCII become "?". */
PyObject *look_text(const char *text, size_t size);

#endif
