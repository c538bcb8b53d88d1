/* proto_cdef.h: what shmring._proto shows to Python: protocol cores by themselves, for exchanges in
 * virtual time (shmring.testing). Nothing that works in real time uses it. The contracts stand in the
 * headers. */

#define RT_NEVER_NS ...

const char *rt_err_text(void);

/* base/rt_hist.h; what is measured here is read by whom it is written by */
typedef struct {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns;
    uint64_t max_ns;
    ...;
} rt_hist_t;
int64_t rt_hist_quantile_ns(const rt_hist_t *h, double q);

/* proto/netflux/nfx_session.h; names of enumerators as there */
#define NFX_MAX_DATAGRAM_BYTES ...
enum {
    NFX_STALE_KEEP, NFX_STALE_FAILSAFE, NFX_STALE_STOP,
    NFX_ACCEPTED, NFX_FIRST, NFX_REPEATED, NFX_OLD, NFX_SHORT,
    NFX_VALUES, NFX_FAILSAFE,
    NFX_COUNTER_TOTAL, NFX_GAUGE_TOTAL, NFX_HIST_TOTAL, ...
};
typedef struct {
    uint32_t rx_payload_bytes;
    int64_t cycle_ns;
    int64_t watch_ns;
    int64_t hear_ns;
    int64_t stale_ns;
    int on_stale;
    bool keep_window;
    ...;
} nfx_config_t;
typedef struct {
    uint64_t counters[...];
    uint64_t gauges[...];
    rt_hist_t hists[...];
    ...;
} nfx_stats_t;
typedef struct { ...; } nfx_session_t;
typedef struct {
    uint8_t number;
    uint8_t feedback;
    const uint8_t *payload;
    uint32_t payload_bytes;
} nfx_frame_t;
typedef struct {
    uint8_t header[...];
    int source;
    int64_t due_ns;
    ...;
} nfx_out_t;
typedef struct {
    int kind;
    int64_t at_ns;
    ...;
} nfx_event_t;
int nfx_session_init(nfx_session_t *s, const nfx_config_t *config, nfx_stats_t *stats);
void nfx_session_start_sending(nfx_session_t *s, int64_t origin_ns, int64_t now_mono_ns);
void nfx_session_stop_sending(nfx_session_t *s);
int nfx_session_receive(nfx_session_t *s, const void *data, size_t size, int64_t arrival_mono_ns,
                        int64_t now_mono_ns, nfx_frame_t *frame);
void nfx_session_refreshed(nfx_session_t *s, int64_t at_mono_ns, int64_t now_mono_ns);
int nfx_session_emit(nfx_session_t *s, nfx_out_t *out, int64_t now_mono_ns);
void nfx_session_sent(nfx_session_t *s, int64_t sent_mono_ns);
void nfx_session_not_sent(nfx_session_t *s);
int64_t nfx_session_deadline_ns(const nfx_session_t *s);
int nfx_session_next_event(nfx_session_t *s, nfx_event_t *event);
void nfx_session_foreign(nfx_session_t *s, uint64_t datagrams);

/* proto/impair/impair.h */
typedef struct {
    double loss;
    double burst_loss;
    double burst_packets;
    double duplicate;
    double reorder;
    double corrupt;
    int64_t delay_ns;
    int64_t jitter_ns;
    int64_t reorder_extra_ns;
    uint64_t rate_bps;
    uint64_t queue_bytes;
    uint64_t seed;
    uint64_t store_bytes;
    uint32_t max_datagram_bytes;
    ...;
} impair_config_t;
typedef struct {
    uint64_t offered;
    uint64_t passed;
    uint64_t lost;
    uint64_t burst_lost;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t queue_dropped;
    ...;
} impair_counters_t;
typedef struct {
    impair_counters_t counters;
    ...;
} impair_t;
typedef struct {
    const void *data;
    uint32_t len;
    int64_t time_ns;
    ...;
} impair_in_t;
typedef struct {
    uint8_t *data;
    uint32_t len;
    int64_t time_ns;
    ...;
} impair_out_t;
size_t impair_memory_bytes(const impair_config_t *config);
int impair_init(impair_t *im, const impair_config_t *config, void *memory, size_t bytes);
int impair_offer(impair_t *im, const impair_in_t *in, int64_t now_ns);
size_t impair_emit(impair_t *im, impair_out_t *out, size_t max, int64_t now_ns);
int64_t impair_deadline_ns(const impair_t *im);
