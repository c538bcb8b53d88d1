/* udt_conn_state.h: the parts of a connection (udt_conn.h). */
#ifndef UDT_CONN_STATE_H
#define UDT_CONN_STATE_H

#include "proto/udt/udt_cc.h"
#include "proto/udt/udt_estimate.h"
#include "proto/udt/udt_losslist.h"
#include "proto/udt/udt_rcvbuf.h"
#include "proto/udt/udt_sndbuf.h"
#include "proto/udt/udt_stats.h"
#include "proto/udt/udt_timers.h"

#define UDT_MAX_WINDOW_PACKETS (UINT32_C(1) << 20)
#define UDT_DEFAULT_WINDOW_PACKETS 25600u
#define UDT_DEFAULT_BUFFER_PACKETS 8192u
#define UDT_PEER_ERROR_FILE 4000u /* code in a peer's error packet */

/* The protocol's own error numbers. */
typedef enum udt_error {
    UDT_OK = 0,
    UDT_ECONNSETUP = 1000, /* accepted, and the peer never said anything */
    UDT_ENOSERVER = 1001,  /* no answer in time */
    UDT_ECONNREJ = 1002,   /* the peer refused */
    UDT_ESECFAIL = 1004,   /* the answer does not belong to the request */
    UDT_ECONNLOST = 2001,  /* closed by the peer, or silent for too long */
} udt_error_t;

typedef enum udt_conn_state {
    UDT_CONN_OPENED = 0,
    UDT_CONN_CONNECTING,
    UDT_CONN_CONNECTED,
    UDT_CONN_LINGERING, /* closed here; data given to send is still sent */
    UDT_CONN_LEAVING,   /* telling the peer */
    UDT_CONN_BROKEN,    /* nothing more is sent; received data can be read */
    UDT_CONN_CLOSED,    /* nothing more will happen */
} udt_conn_state_t;

typedef struct udt_conn_config {
    udt_mode_t mode;
    bool rendezvous;
    uint32_t socket_id;       /* 1 .. 2^31 - 1 */
    uint32_t isn;             /* number of the first packet, random; accept takes the peer's */
    uint32_t mss_bytes;       /* UDT_MIN_MSS .. 65535 */
    uint32_t window_packets;  /* 32 .. 2^20: most packets in flight towards us */
    uint32_t send_bytes;      /* 1 .. 2^31: ring of bytes to send */
    uint32_t send_packets;    /* 2 .. 2^20: most of our packets unacknowledged */
    uint32_t receive_packets; /* 32 .. 2^20, capped at window_packets */
    uint64_t max_bandwidth;   /* bytes per second, 0: unlimited */
    int64_t connect_ns;       /* time-out, 0: 3 s, in a rendezvous 30 s */
    int64_t linger_ns;        /* how long close waits for data given to send; 0: not at all */
    int64_t burst_ns;         /* packets due within this time leave together; 0: each alone */
    uint8_t peer_address[16]; /* in the form of handshakes: IPv4 in the first four bytes */
    udt_cc_config_t cc;
} udt_conn_config_t;

#define UDT_EVENT_CONNECTED 0x01u
#define UDT_EVENT_FAILED 0x02u     /* not connected; error has the reason */
#define UDT_EVENT_READABLE 0x04u   /* more can be read than before */
#define UDT_EVENT_WRITABLE 0x08u   /* more can be given to send than before */
#define UDT_EVENT_BROKEN 0x10u     /* peer closed, or is silent for too long */
#define UDT_EVENT_PEER_ERROR 0x20u /* the peer could not store what we sent */
#define UDT_EVENT_CLOSED 0x40u     /* after udt_conn_close: nothing more will happen */

#define UDT_OUT_HEAD_BYTES UDT_HANDSHAKE_BYTES

typedef struct udt_out {
    uint8_t head[UDT_OUT_HEAD_BYTES];
    uint32_t head_bytes;
    uint32_t payload_bytes; /* 0: the head is everything */
    const uint8_t *payload;
} udt_out_t;

#define UDT_ACK2_QUEUE 32u
#define UDT_NAK_WORDS 256u

/* --- private to udt_conn*.c ---------------------------------------------------------------- */

typedef struct udt_setup {
    int32_t request; /* our request */
    uint32_t cookie;
    uint32_t unanswered; /* second requests since the last answer */
    int64_t next_ns;
    int64_t give_up_ns;   /* not connected until then; of a server: nothing heard until then */
    udt_handshake_t peer; /* as received last */
    bool peer_known;
    bool is_server;
    bool reply_due;
    int32_t reply; /* udt_request_t */
    bool heard;    /* a packet other than a handshake came: the peer knows that we are connected */
} udt_setup_t;

typedef struct udt_sender {
    udt_sndbuf_t buffer;
    udt_losslist_t losses;
    udt_cc_t cc;
    int64_t cc_ns;     /* time of the last report to the controller */
    int64_t period_ps; /* of the controller, or longer after the peer's warning */
    udt_pacer_t pacer;
    bool pair;         /* the second packet of a probe pair must follow at once */
    uint32_t last_ack; /* acknowledged by ACKs of any length */
    uint32_t flow_window;
    uint32_t delivery_pps;
    uint32_t capacity_pps;
    int64_t sent_ns;    /* last time data left */
    int64_t heard_ns;   /* last time an ACK or NAK came */
    int64_t scanned_ns; /* start of the wait for overdue packets, unless a send is later */
    bool stopped;       /* nothing more could leave last time, even without the pace */
    bool was_acked;     /* something was acknowledged, ever */
    bool nudged;        /* a keep-alive requested an ACK since the last one */
    uint32_t ack2s[UDT_ACK2_QUEUE];
    uint32_t ack2_from;
    uint32_t ack2_to;
    int64_t busy_since_ns; /* since when data is unacknowledged; RT_NEVER_NS: none is */
} udt_sender_t;

typedef struct udt_receiver {
    udt_rcvbuf_t buffer;
    udt_losslist_t losses;
    udt_ack_history_t history;
    udt_arrivals_t arrivals;
    uint32_t next;      /* after the highest received */
    uint32_t last_ack;  /* acknowledged by us */
    uint32_t confirmed; /* the peer has confirmed that it knows */
    uint32_t ack_number;
    uint32_t advertised; /* free packets, as last reported */
    uint32_t packets;    /* received since the last ACK that was not light */
    uint32_t lights;     /* light ACKs since then, plus one */
    bool ack_now;
    bool window_grew;
    bool was_confirmed; /* ever */
    int64_t last_ack_ns;
    int64_t last_full_ack_ns;
    uint32_t nak_from;    /* losses from here on were never reported */
    uint32_t repeat_from; /* losses repeat_from .. repeat_to must be reported again */
    uint32_t repeat_to;
    uint32_t repeat_horizon; /* value of next at the last repetition */
    int64_t repeat_ns;       /* next repetition; RT_NEVER_NS: nothing is lost */
    bool nak_due;
    uint8_t nak[4 * UDT_NAK_WORDS];
} udt_receiver_t;

typedef struct udt_conn {
    udt_conn_config_t config; /* with the defaults filled in */
    udt_stats_t *stats;
    udt_conn_state_t state;
    udt_error_t error;
    uint32_t events;
    int64_t now_ns;
    int64_t opened_ns;
    uint32_t isn;
    uint32_t peer_id;
    uint32_t mss_bytes;   /* agreed */
    uint32_t peer_window; /* requested by the peer */
    udt_rtt_t rtt;
    udt_exp_t exp;
    int64_t emitted_ns; /* last time anything was sent */
    bool keepalive_due;
    bool error_due;
    int64_t leave_ns;   /* end of lingering, or next shutdown */
    uint32_t shutdowns; /* number still to send */
    udt_setup_t setup;
    udt_sender_t snd;
    udt_receiver_t rcv;
} udt_conn_t;

#endif
