/* ring_cdef.h: what shmring._ring shows to Python. cffi asks the compiler for every "...", and the
 * compiler checks every signature against the library's headers, where the contracts stand. */

#define RT_HIST_BUCKETS ...
#define RT_CLOCK_MONOTONIC ...
#define RT_CLOCK_TAI ...
#define RT_NEVER_NS ...

#define SHM_LAYOUT_VERSION ...
#define SHM_NAME_BYTES ...
#define SHM_MAX_PAYLOAD ...
#define SHM_MAX_RECORD ...
#define SHM_MAX_GROUPS ...
#define SHM_ENGINE_CONFIG_BYTES ...
#define SHM_COUNTER_TOTAL ...
#define SHM_HIST_TOTAL ...

#define SHM_TX ...
#define SHM_RX ...
#define SHM_DUPLEX ...
#define SHM_READ_BROADCAST ...
#define SHM_READ_SHARED ...
#define SHM_OVERFLOW_OLDEST ...
#define SHM_OVERFLOW_WAIT ...
#define SHM_LATE_SEND ...
#define SHM_LATE_DROP ...
#define SHM_ALIGN_START ...
#define SHM_ALIGN_WIRE ...
#define SHM_REPORTS_OFF ...
#define SHM_REPORTS_LATE ...
#define SHM_REPORTS_ALL ...
#define SHM_PROFILE_LATENCY ...
#define SHM_PROFILE_POWER ...
#define SHM_STAMP_NONE ...
#define SHM_STAMP_KERNEL ...
#define SHM_STAMP_HARDWARE ...
#define SHM_TXTIME_AUTO ...
#define SHM_TXTIME_REQUIRE ...

#define SHM_STATE_OPEN ...
#define SHM_STATE_CLOSED ...
#define SHM_STATE_FAILED ...
#define SHM_RX_SHARED_STAMP ...
#define SHM_RX_TRUNCATED ...

#define CTL_NO_SLOT ...
#define CTL_ATTACH_PRODUCER ...
#define CTL_ATTACH_READER ...

#define ENDPOINT_TX ...
#define ENDPOINT_RX ...

/* base */
typedef struct {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t min_ns;
    uint64_t max_ns;
    ...;
} rt_hist_t;
const char *rt_err_text(void);
int64_t rt_mono_ns(void);
int64_t rt_real_ns(void);
int64_t rt_tai_ns(void);
int64_t rt_hist_lower_ns(unsigned bucket);
int64_t rt_hist_quantile_ns(const rt_hist_t *h, double q);

/* shm: configuration */
typedef struct {
    uint16_t family;
    uint16_t port;
    uint32_t scope;
    uint8_t ip[16];
    ...;
} shm_addr_t;
typedef struct {
    shm_addr_t group;
    uint32_t interface;
    ...;
} shm_group_t;
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
    ...;
} shm_impair_t;
typedef struct {
    uint32_t config_bytes;
    char name[...];
    char name_space[...];
    char pool[...];
    char engine[...];
    char device[...];
    uint8_t direction;
    uint8_t read_mode;
    uint8_t overflow;
    uint8_t late;
    uint8_t align;
    uint8_t clock;
    uint8_t reports;
    uint8_t profile;
    uint8_t rx_stamp;
    uint8_t tx_stamp;
    uint8_t txtime;
    uint8_t connect;
    uint8_t reuse;
    uint8_t broadcast;
    uint8_t dont_fragment;
    uint8_t v6only;
    uint8_t gso;
    uint8_t gro;
    uint8_t multicast_loop;
    uint8_t held;
    uint8_t stamp_every;
    int16_t ttl;
    int16_t multicast_ttl;
    int16_t dscp;
    int16_t so_priority;
    uint32_t multicast_interface;
    uint32_t rcvbuf_bytes;
    uint32_t sndbuf_bytes;
    uint32_t max_payload_bytes;
    uint32_t report_slots;
    uint32_t producers;
    uint32_t readers;
    uint64_t tx_bytes;
    uint64_t rx_bytes;
    uint32_t tx_capacity;
    uint32_t rx_capacity;
    int64_t tolerance_ns;
    uint64_t engine_bytes;
    uint32_t late_slots;
    shm_addr_t local;
    shm_addr_t remote;
    shm_group_t groups[...];
    shm_impair_t impair_tx;
    shm_impair_t impair_rx;
    uint8_t engine_config[...];
    ...;
} shm_config_t;
void shm_config_init(shm_config_t *c);
int shm_config_check(const shm_config_t *c);
int shm_name_check(const char *what, const char *name);

/* shm: segment */
typedef struct {
    uint32_t state;
    uint32_t epoch;
    uint32_t worker_pid;
    uint32_t cpu;
    uint32_t sched_policy;
    uint32_t sched_priority;
    uint32_t error;
    uint32_t socket_fd;
    uint32_t rcvbuf_bytes;
    uint32_t sndbuf_bytes;
    uint32_t gso;
    uint32_t gro;
    uint32_t txtime;
    uint32_t rx_stamp;
    uint32_t tx_stamp;
    uint32_t worker_slot;
    uint64_t heartbeat_mono_ns;
    uint64_t opened_mono_ns;
    shm_addr_t bound;
    char txtime_reason[...];
    char interface[...];
    char qdisc[...];
    char reason[...];
    ...;
} shm_status_t;
typedef struct {
    uint32_t owner;
    uint64_t lost;
    uint64_t taken;
    ...;
} shm_reader_t;
typedef struct {
    uint32_t owner;
    ...;
} shm_producer_t;
typedef struct {
    uint64_t scheduled;
    int64_t wake_margin_ns;
    int64_t wire_offset_ns;
    uint64_t reset_mono_ns;
    rt_hist_t hists[...];
    ...;
} shm_stats_t;
typedef struct {
    uint64_t sequence;
    int64_t scheduled_ns;
    int64_t enqueued_ns;
    int64_t woken_ns;
    int64_t sent_ns;
    int64_t handed_ns;
    int64_t stamped_ns;
    int32_t error;
    uint8_t verdict;
    uint8_t stamp;
    uint16_t batch;
} shm_report_t;
typedef struct {
    uint64_t bytes;
    int writable;
    uint32_t owner_uid;
    uint64_t segment_id;
    shm_config_t config;
    shm_status_t *status;
    shm_producer_t *producers;
    shm_reader_t *readers;
    shm_stats_t *stats;
    uint8_t *engine;
    ...;
} shm_segment_t;
uint64_t shm_segment_bytes(const shm_config_t *c);
int shm_segment_format(shm_segment_t *s, int fd, const shm_config_t *c, uint64_t segment_id);
int shm_segment_map(shm_segment_t *s, int fd, int writable);
int shm_segment_map_name(shm_segment_t *s, const char *posix_name, int writable);
int shm_segment_say(int fd, int state, uint32_t error, const char *reason);
bool shm_segment_torn(const shm_segment_t *s);
void shm_segment_unmap(shm_segment_t *s);
uintptr_t bus_guard_address(void);

/* shm: late packets */
typedef struct {
    shm_report_t report;
    int64_t noted_mono_ns;
    uint32_t producer;
    uint32_t producer_pid;
    ...;
} shm_late_packet_t;
typedef struct {
    uint64_t next;
    uint64_t lost;
    ...;
} slot_reader_t;
unsigned slot_reader_next(slot_reader_t *r, void *out, unsigned max);
void channel_late_reader_init(slot_reader_t *reader, const shm_segment_t *s);

/* shm: rings */
int tx_ring_cancel(const shm_segment_t *s, uint64_t sequence, int64_t *due_ns);
uint64_t tx_ring_waiting(const shm_segment_t *s);
int tx_ring_wait_verdict(const shm_segment_t *s, int64_t until_mono_ns);
uint64_t tx_ring_next_sequence(const shm_segment_t *s);
typedef struct {
    uint64_t lost;
    ...;
} report_reader_t;
void report_reader_init(report_reader_t *r, const shm_segment_t *s);
unsigned report_reader_next(report_reader_t *r, shm_report_t *out, unsigned max);

/* shm: control messages; the operations' numbers are in rtworkers.control */
typedef struct {
    char name[...];
    ...;
} ctl_channel_t;
typedef struct {
    ctl_channel_t channel;
    uint32_t what;
    uint32_t producer;
    uint32_t reader;
    ...;
} ctl_attach_t;
typedef struct {
    ctl_channel_t channel;
    uint32_t producer;
    uint32_t reader;
    uint32_t epoch;
    ...;
} ctl_attached_t;
typedef struct {
    ctl_channel_t channel;
    uint32_t what;
    uint32_t snap_bytes;
    ...;
} ctl_tap_t;
typedef struct {
    uint32_t epoch;
    uint32_t taps;
    ...;
} ctl_tapped_t;
#define CTL_TAP_TX ...
#define CTL_TAP_RX ...
#define CTL_TAP_NOT_SENT ...
#define CTL_MARK_BYTES ...

/* shm: the log of a tap */
#define TAP_SENT ...
#define TAP_ARRIVED ...
#define TAP_NOT_SENT ...
#define TAP_STAMPED ...
#define TAP_MARK ...
#define TAP_HAS_SEQUENCE ...
#define TAP_AWAITS_STAMP ...
#define TAP_FILTERED ...
#define TAP_SHARED_STAMP ...
#define TAP_TRUNCATED ...
#define TAP_NO_VERDICT ...
#define TAP_NEW ...
#define TAP_LIVE ...
#define TAP_CLOSED ...
#define TAP_FAILED ...
#define TAP_HEAD_BYTES ...
#define TAP_LEAST_BYTES ...
#define TAP_MOST_BYTES ...
#define TAP_RECORD_MOST ...
typedef struct { ...; } tap_record_t;
typedef struct {
    uint64_t next_index;
    uint64_t lost;
    ...;
} tap_reader_t;
typedef struct {
    uint32_t bytes;
    uint32_t records;
    uint32_t datagrams;
    uint32_t late;
    uint32_t marks;
    uint64_t lost_before;
    ...;
} tap_batch_t;
int tap_bytes_check(uint64_t bytes);
int tap_reader_init(tap_reader_t *r, const void *memory, uint64_t bytes);
uint32_t tap_reader_take(tap_reader_t *r, void *buffer, uint32_t buffer_bytes, tap_batch_t *batch);
uint32_t tap_reader_state(const tap_reader_t *r);
uint64_t tap_reader_untold(const tap_reader_t *r);

/* client/endpoint.h */
typedef struct {
    uint64_t lost;
    ...;
} rx_reader_t;
typedef struct {
    uint32_t epoch;
    uint8_t tx_ready;
    uint8_t rx_ready;
    int reader_fd;
    rx_reader_t rx;
    ...;
} endpoint_t;
typedef struct {
    uint64_t sequence;
    int64_t timestamp_ns;
    uint64_t offset;
    uint32_t length;
    uint8_t stamp;
    uint8_t flags;
    uint8_t tos;
    shm_addr_t source;
    ...;
} packet_record_t;
typedef struct { ...; } endpoint_sleep_t;

int endpoint_open(endpoint_t *e, shm_segment_t *s, int mode, int from_oldest);
void endpoint_close(endpoint_t *e);
void endpoint_forget_slots(endpoint_t *e);
void endpoint_ring_bell(endpoint_t *e);
uint64_t endpoint_waiting(const endpoint_t *e);
void endpoint_rearm(endpoint_t *e);
void endpoint_before_sleep(const endpoint_t *e, int what, int64_t until_mono_ns,
                           endpoint_sleep_t *s);
int endpoint_sleep(endpoint_sleep_t *s);

/* client/channel_stats.h */
void channel_read_counters(const shm_stats_t *stats, uint64_t *out);
void channel_copy_hist(rt_hist_t *to, const rt_hist_t *from);
uint64_t channel_hist_bucket(const rt_hist_t *h, unsigned bucket);
uint32_t channel_reader_waiting(const shm_segment_t *s, uint32_t slot);
uint64_t channel_shared_lost(const shm_segment_t *s);
uint64_t channel_reports_awaited(const shm_segment_t *s);
int64_t channel_now_ns(const shm_segment_t *s);

/* python/ring_src.h */
uint32_t ring_sum16(const uint8_t *data, uint64_t bytes);

/* client/readiness.h */
typedef struct {
    int epoll_fd;
    ...;
} readiness_t;
int doorbell_open(void);
int readiness_open(readiness_t *r, int doorbell_fd);
int readiness_watch(readiness_t *r, int control_fd);
void readiness_unwatch(readiness_t *r);
bool readiness_look(readiness_t *r);
int readiness_keep_looking(readiness_t *r);
void readiness_close(readiness_t *r);

/* shm: the engine "rtp"; names of enumerators as in rtp_shm.h */
#define SHM_RTP_DEFAULT_PT ...
#define SHM_RTP_HEAD_BYTES ...
#define SHM_RTP_MAX_HISTORY ...
#define SHM_RTP_NO_MARKER ...
#define SHM_RTP_FIXED_SOURCE ...
#define SHM_RTP_NACK_SEND ...
#define SHM_RTP_NACK_RECEIVE ...
#define SHM_RTP_REDUCED_SIZE ...
#define SHM_RTP_SAME_TIME ...
#define SHM_RTP_EXTENSION ...
#define SHM_RTP_RECOVERED ...
#define SHM_RTP_NEW_SOURCE ...
#define SHM_RTP_RESTARTED ...
#define SHM_RTP_DRY ...
enum {
    SHM_RTP_AT_PLAYOUT, SHM_RTP_IN_ORDER, SHM_RTP_AS_ARRIVED,
    SHM_RTP_RTCP_OFF, SHM_RTP_RTCP_MUX, SHM_RTP_RTCP_NEXT_PORT,
    SHM_RTP_FRAME, SHM_RTP_BLOCK, SHM_RTP_PAUSE, SHM_RTP_BYE,
    SHM_RTP_RESUME, SHM_RTP_CATCH_UP, SHM_RTP_FILL,
    SHM_RTP_MARKER_AUTO, SHM_RTP_MARKER_SET, SHM_RTP_MARKER_CLEAR,
    SHM_RTP_GOT_FRAME, SHM_RTP_GOT_ERASURE, SHM_RTP_GOT_RESYNC, SHM_RTP_GOT_BYE,
    SHM_RTP_COUNTER_TOTAL, SHM_RTP_GAUGE_TOTAL, ...
};
typedef struct {
    uint32_t config_bytes;
    uint32_t clock_rate;
    uint32_t samples_per_packet;
    uint32_t bytes_per_packet;
    uint32_t ssrc;
    uint32_t first_ts;
    uint16_t first_seq;
    uint8_t payload_type;
    uint8_t flags;
    uint8_t delivery;
    uint8_t rtcp;
    uint16_t max_frames;
    int64_t start_delay_ns;
    uint32_t expected_ssrc;
    uint16_t min_sequential;
    uint16_t max_dropout;
    uint16_t max_misorder;
    uint8_t codec;
    uint8_t channels;
    uint8_t underrun;
    uint8_t fill_byte;
    uint16_t fill_packets;
    int64_t switch_silence_ns;
    double percentile;
    int64_t min_delay_ns;
    int64_t max_delay_ns;
    int64_t first_delay_ns;
    int64_t shrink_ns_per_s;
    int64_t conceal_ns;
    int64_t resync_ns;
    double rtcp_bandwidth_bps;
    int64_t rtcp_interval_ns;
    shm_addr_t rtcp_local;
    shm_addr_t rtcp_remote;
    char cname[...];
    uint32_t history_packets;
    uint32_t nack_max_requests;
    int64_t nack_first_wait_ns;
    int64_t nack_retry_ns;
    int64_t nack_give_up_ns;
    ...;
} shm_rtp_config_t;
int shm_rtp_config_check(const shm_rtp_config_t *c);
typedef struct {
    uint8_t what;
    uint8_t marker;
    uint8_t payload_type;
    uint8_t flags;
    uint32_t samples;
    uint32_t bytes_per_packet;
    ...;
} shm_rtp_tx_t;
typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint8_t marker;
    uint8_t payload_type;
    uint32_t ssrc;
    uint64_t seq;
    uint32_t ts;
    int32_t ts_span;
    uint32_t frames;
    uint16_t extension_profile;
    uint16_t extension_bytes;
    int64_t due_ns;
    uint8_t csrc_count;
    ...;
} shm_rtp_rx_t;
typedef struct { ...; } shm_rtp_state_t;
void rtp_read_stats(const shm_rtp_state_t *state, uint64_t *counters, int64_t *gauges);
void rtp_read_cname(const shm_rtp_state_t *state, char *out);

/* shm: the engine "netflux" */
#define SHM_NETFLUX_MAX_PAYLOAD ...
#define SHM_NETFLUX_KEEP_VALUES ...
#define SHM_NETFLUX_KEEP_WINDOW ...
#define SHM_NETFLUX_VOID ...
#define SHM_NETFLUX_FIRST ...
#define SHM_NETFLUX_OVERSIZE ...
#define SHM_NETFLUX_GIVEN ...
enum {
    SHM_NETFLUX_KEEP, SHM_NETFLUX_FAILSAFE, SHM_NETFLUX_STOP,
    SHM_NETFLUX_VALUES, SHM_NETFLUX_ALIVE, SHM_NETFLUX_TIMEOUT, SHM_NETFLUX_HEARD,
    SHM_NETFLUX_UNHEARD, SHM_NETFLUX_FRESH, SHM_NETFLUX_STALE,
    SHM_NETFLUX_SET, SHM_NETFLUX_AIM, SHM_NETFLUX_SEND, SHM_NETFLUX_SET_FAILSAFE,
    SHM_NETFLUX_FEEDBACK,
    NFX_COUNTER_TOTAL, NFX_GAUGE_TOTAL, NFX_HIST_TOTAL, ...
};
typedef struct {
    int64_t cycle_ns;
    int64_t watch_ns;
    int64_t hear_ns;
    int64_t stale_ns;
    uint32_t on_stale;
    uint32_t flags;
} shm_netflux_settings_t;
typedef struct {
    uint32_t config_bytes;
    uint32_t tx_payload_bytes;
    uint32_t rx_payload_bytes;
    uint32_t any_source;
    shm_netflux_settings_t settings;
    uint8_t tx_layout[...];
    uint8_t rx_layout[...];
    uint8_t own_number;
    uint8_t partner_number;
    uint8_t partner_known;
    ...;
} shm_netflux_config_t;
int shm_netflux_settings_check(const shm_netflux_settings_t *s);
int shm_netflux_config_check(const shm_netflux_config_t *c);
typedef struct {
    uint8_t kind;
    uint8_t flags;
    uint8_t number;
    uint8_t feedback;
    uint32_t payload_bytes;
    uint64_t published;
    int64_t at_mono_ns;
} shm_netflux_rx_t;
typedef struct {
    int64_t origin_mono_ns;
    shm_netflux_settings_t settings;
    shm_addr_t remote;
    uint32_t sending;
    uint32_t failsafe;
    uint32_t feedback;
    ...;
} shm_netflux_state_t;
typedef struct {
    uint32_t op;
    uint32_t on;
    shm_netflux_settings_t settings;
    shm_addr_t remote;
} shm_netflux_request_t;
uint64_t shm_netflux_bytes(uint32_t producers);
int shm_netflux_peek(const uint8_t *engine, uint32_t producers, void *values, uint32_t bytes,
                     int64_t *at_mono_ns, uint64_t *ticket, uint32_t *slot);
void shm_netflux_publish(uint8_t *engine, shm_netflux_rx_t *head, uint32_t stamp,
                         const void *values, uint32_t bytes);
int shm_netflux_state_get(const uint8_t *engine, shm_netflux_state_t *state);

/* proto/netflux: statistics */
typedef struct {
    rt_hist_t hists[...];
    ...;
} nfx_stats_t;
const nfx_stats_t *netflux_read_stats(uint8_t *engine, uint64_t *counters, uint64_t *gauges);
uint64_t netflux_published(const uint8_t *engine);

/* shm: the engines "udt-port" and "udt"; names of enumerators as in udt_shm.h */
#define SHM_UDT_MAX_BACKLOG ...
#define SHM_UDT_MORE ...
#define SHM_UDT_IN_ORDER ...
#define UDT_NO_RECORD ...
enum {
    SHM_UDT_STREAM, SHM_UDT_MESSAGES,
    SHM_UDT_LISTEN, SHM_UDT_UNLISTEN, SHM_UDT_REFUSE,
    SHM_UDT_CC_DAIMD, SHM_UDT_CC_FIXED, SHM_UDT_CC_BBR,
    SHM_UDT_GOT_BYTES, SHM_UDT_GOT_MESSAGE, SHM_UDT_GOT_PIECE, SHM_UDT_GOT_CONNECTED,
    SHM_UDT_GOT_FAILED, SHM_UDT_GOT_BROKEN, SHM_UDT_GOT_PEER_ERROR, SHM_UDT_GOT_CLOSED,
    SHM_UDT_CONNECTING, SHM_UDT_CONNECTED, SHM_UDT_CLOSING, SHM_UDT_BROKEN, SHM_UDT_CLOSED,
    SHM_UDT_LOST,
    SHM_UDT_CLOSE, SHM_UDT_SET_BANDWIDTH, SHM_UDT_REPORT_ERROR,
    UDT_COUNTER_TOTAL, UDT_GAUGE_TOTAL, SHM_UDT_PORT_COUNTER_TOTAL, ...
};
typedef struct {
    uint32_t config_bytes;
    uint32_t max_sockets;
    uint32_t listens;
    uint32_t backlog;
    ...;
} shm_udt_port_config_t;
typedef struct {
    uint32_t number;
    uint32_t socket_id;
    uint32_t mss_bytes;
    uint32_t window_packets;
    ...;
} shm_udt_request_t;
typedef struct {
    uint32_t op;
    uint32_t mode;
    uint32_t backlog;
    uint32_t number;
    ...;
} shm_udt_port_command_t;
typedef struct {
    uint32_t config_bytes;
    uint32_t accepts;
    char port[...];
    uint8_t mode;
    uint8_t rendezvous;
    uint8_t cc;
    uint32_t socket_id;
    uint32_t mss_bytes;
    uint32_t window_packets;
    uint32_t send_bytes;
    uint32_t receive_packets;
    uint64_t max_bandwidth;
    int64_t connect_ns;
    int64_t burst_ns;
    ...;
} shm_udt_config_t;
typedef struct {
    uint32_t op;
    int64_t value;
    ...;
} shm_udt_command_t;
typedef struct { ...; } shm_udt_state_t;
typedef struct { ...; } shm_udt_port_state_t;

/* client/endpoint_udt.h, client/engine_stats.h */
typedef struct {
    endpoint_t *end;
    ...;
} udt_endpoint_t;
typedef struct {
    uint32_t state;
    uint32_t error;
    uint32_t socket_id;
    uint32_t peer_id;
    uint32_t mss_bytes;
    uint64_t unsent_bytes;
    uint64_t unread_bytes;
    shm_addr_t peer;
} udt_facts_t;
uint32_t udt_read_state(const shm_segment_t *s);
uint32_t udt_read_peer_errors(const shm_segment_t *s);
uint32_t udt_endpoint_event(udt_endpoint_t *u);
int udt_endpoint_send(udt_endpoint_t *u, const uint8_t *data, uint64_t bytes, int32_t ttl_ms, uint32_t flags,
                      int is_message, uint64_t *done);
int udt_endpoint_has_room(udt_endpoint_t *u);
uint64_t udt_endpoint_read(udt_endpoint_t *u, uint8_t *to, uint64_t bytes, uint32_t *tag);
uint64_t udt_endpoint_take(udt_endpoint_t *u, uint8_t *to, uint32_t *tag);
int udt_endpoint_has_data(const udt_endpoint_t *u);
void udt_read_facts(const shm_segment_t *s, udt_facts_t *out);
void udt_read_stats(const shm_segment_t *s, uint64_t *counters, uint64_t *gauges);
void udt_read_port(const shm_segment_t *s, uint64_t *counters);

/* proto/rtp: the grid, payload types, header extensions, G.711 */
uint32_t rtp_stream_samples(uint32_t clock_rate, int64_t ptime_ns);
typedef struct {
    int32_t clock_rate;
    ...;
} rtp_payload_format_t;
extern const rtp_payload_format_t rtp_payload_formats[128];
#define RTP_EXT_ONE_BYTE ...
#define RTP_EXT_TWO_BYTE ...
typedef struct {
    uint8_t id;
    uint8_t bytes;
    const uint8_t *data;
} rtp_ext_element_t;
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool two_byte;
} rtp_ext_reader_t;
int rtp_ext_next(rtp_ext_reader_t *reader, rtp_ext_element_t *element);
typedef struct { ...; } rtp_ext_writer_t;
typedef struct {
    uint16_t ext_profile;
    size_t ext_bytes;
    ...;
} rtp_fields_t;
void rtp_ext_writer_init(rtp_ext_writer_t *writer, bool two_byte, uint8_t *out, size_t room);
int rtp_ext_add(rtp_ext_writer_t *writer, unsigned id, const void *data, size_t bytes);
void rtp_ext_finish(rtp_ext_writer_t *writer, rtp_fields_t *fields);
void g711_ulaw_encode(uint8_t *out, const int16_t *in, size_t count);
void g711_ulaw_decode(int16_t *out, const uint8_t *in, size_t count);
void g711_alaw_encode(uint8_t *out, const int16_t *in, size_t count);
void g711_alaw_decode(int16_t *out, const uint8_t *in, size_t count);

/* client/rtp_rows.h */
typedef struct { ...; } rtp_row_t;
void rtp_rows(const uint8_t *buffer, const packet_record_t *records, uint64_t count,
              rtp_row_t *rows);
