/* sim.h: what the parts of the simulation know of each other.
 *
 *     main.c     the command: runs, tables, repetitions
 *     plans.c    scenes, which draw plans from seeds; makes a run that fails smaller
 *     pool.c     the actor that starts workers, opens the channel, holds, releases, purges
 *     clients.c  actors that send and receive with the C API
 *     judge.c    what was asked for, what was told, what came to the wire
 *     - - - - -  the product: worker_main.c, libshmring, and all below them
 *     calls.c    the product's system calls, by the linker's --wrap; sockets.c: those of sockets
 *     files.c    descriptors, memory files, locks    waits.c   epoll and poll
 *     unix.c     connections on the host             udp.c     UDP, and the network behind it
 *     fibers.c   processes, virtual time, scheduler  faults.c  sites, and faults at them
 *
 * One process is one fiber. There is one clock and, as it were, one core: at each point
 * (sim_point.h) some nanoseconds pass, and after a drawn number of points another process may
 * continue. If all of them sleep, the clock jumps. A run is a function of its plan (plan_t), and
 * the plan of the seed. */
#ifndef SIM_H
#define SIM_H

#include "sim_point.h"

#include <poll.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <ucontext.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define NEVER INT64_MAX
#define TAI_S 37
#define CALM_NS (20 * NS_PER_MS) /* behind a takeover or a halt what waited is being sent */

#define ACTORS_MOST 64
#define FDS_MOST 512
#define FILES_MOST 512
#define FAULTS_MOST 64
#define PACKETS_MOST 4096
#define SENDERS_MOST 4
#define READERS_MOST 4

/* --- chance ---------------------------------------------------------------------------------- */

typedef struct chance {
    uint64_t state;
} chance_t;

uint64_t chance_next(chance_t *c);
/* 0 .. below - 1 */
uint64_t chance_below(chance_t *c, uint64_t below);
/* low .. high; small values are as likely as large ones */
int64_t chance_between(chance_t *c, int64_t low, int64_t high);
bool chance_permille(chance_t *c, unsigned permille);

/* --- the plan of a run ------------------------------------------------------------------------ */

typedef enum fault_kind { FAULT_NONE, FAULT_DEATH, FAULT_STALL } fault_kind_t;
typedef enum role { ROLE_POOL = 1, ROLE_WORKER = 2, ROLE_SENDER = 4, ROLE_READER = 8 } role_t;

/* Of whoever of these roles passes that point first: the nth point of the run, or the nth slow
 * passage of a site. */
typedef struct fault {
    fault_kind_t kind;
    uint32_t roles;
    uint32_t site; /* 0: any */
    uint64_t at;   /* points of the run, or passages of the site */
    int64_t length_ns;
    bool done;
} fault_t;

typedef struct plan {
    uint64_t seed;
    uint32_t senders, readers, packets; /* packets of each sender */
    uint32_t arrivals;                  /* datagrams that the network brings */
    uint32_t payload_most;
    uint32_t tx_bytes, rx_bytes;
    uint32_t slice;         /* points of a slice, on average */
    int64_t gap_ns;         /* the longest pause of a sender */
    int64_t arrival_gap_ns; /* of the network */
    bool far;               /* some packets are due in an hour */
    bool reports, drop_late, gso, gro, wait_for_readers, shared;
    bool tai;   /* deadlines are in CLOCK_TAI */
    bool local; /* the engine that delivers on this host; otherwise udp */
    uint8_t profile;
    uint32_t send_trouble; /* permille of send calls that fail or end early */
    uint32_t
        net_trouble;   /* permille of datagrams that are lost, doubled or late on their way here */
    uint32_t cancels;  /* permille of packets behind which a sender cancels one */
    uint32_t commands; /* hold, release and purge by the pool */
    uint32_t clock_steps; /* times that somebody sets the time of day */
    fault_t faults[FAULTS_MOST];
    unsigned fault_count;
} plan_t;

/* --- processes (fibers.c) --------------------------------------------------------------------- */

typedef enum actor_state { ACTOR_FREE, ACTOR_READY, ACTOR_BLOCKED, ACTOR_ENDED } actor_state_t;

typedef struct actor actor_t;
struct actor {
    const char *name;
    role_t role;
    unsigned index; /* of its role */
    uint32_t pid;
    void (*run)(actor_t *);
    actor_state_t state;
    bool started, woken, killed;
    int status;       /* of exit */
    int64_t start_ns; /* not before */
    int64_t halted_until_ns;
    int64_t cpu_ns;
    const void *key; /* blocked until someone wakes it ... */
    bool (*ready)(void *);
    void *ready_of; /* ... or until this holds */
    int error;
    jmp_buf at;
    ucontext_t first;
    uint8_t *stack, *heap;
    size_t heap_used;
    uint8_t *own; /* its copy of the product's thread-locals */
};

typedef struct sim {
    plan_t plan;
    actor_t actors[ACTORS_MOST];
    unsigned actor_count;
    actor_t *running;
    chance_t order, calls, net; /* of the scheduler, the kernel's faults, the network */
    uint64_t points;            /* passed so far */
    uint64_t faults_from; /* faults count points from there on; UINT64_MAX: not yet, or no more */
    int64_t granted, slice_ns;
    uint64_t hash;
    unsigned deaths, worker_deaths, stalls;
    int64_t real_offset_ns;
    int64_t stepped_ns;      /* when it last changed, 0: never */
    int64_t halted_until_ns; /* a worker stood still until then */
    int64_t calm_from_ns;    /* nothing goes wrong from then on ... */
    bool no_worker;          /* ... once there is a worker */
    int64_t net_until_ns;    /* the network brings nothing after it */
    bool failed, trace;
    const char *failure_kind; /* the text before its numbers */
    char failure[512];
    jmp_buf over;
} sim_t;

extern sim_t sim;

void sim_sites_begin(void);      /* once */
void *sim_reserve(size_t bytes); /* zeros, never given back; ends the program if there are none */
void sim_move(void);             /* all memory of processes and kernel to other addresses */
unsigned sim_site_count(void);
const sim_site_t *sim_site(uint32_t number);
unsigned sim_site_hits(uint32_t number); /* slow passages, in all runs so far */
void sim_begin(const plan_t *plan);
actor_t *sim_spawn(const char *name, role_t role, unsigned index, void (*run)(actor_t *));
void sim_run(void);       /* until sim_over */
void sim_faults(bool on); /* those of the plan happen from now on, or no more */
uint64_t sim_points(void);

void faults_begin(void);
uint64_t faults_next_point(void);      /* UINT64_MAX: none */
fault_t *faults_due(sim_site_t *site); /* for the running process; NULL: none */
_Noreturn void sim_over(void);
_Noreturn void sim_exit(int status); /* of the running process */
void sim_mix(uint64_t value);
void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Blocks the running process until then, sim_wake of its key, or until ready(of) holds. Returns
 * whether it was woken. */
bool sim_block(int64_t until_ns, const void *key, bool (*ready)(void *), void *of);
void sim_sleep_until(int64_t until_ns);
void sim_disturb(int64_t until_ns); /* nobody must be prompt before */
/* What to add to the monotonic clock for that of the channel. */
int64_t sim_channel_offset_ns(void);
void sim_steps_begin(void); /* of the time of day, as planned */
unsigned sim_wake(const void *key);
/* Looks who is ready now. */
void sim_changed(void);
/* A function that the clock calls, of a number. Used by the network. */
void sim_at(int64_t when_ns, void (*call)(uint64_t), uint64_t of);

void *sim_alloc(size_t bytes, size_t align); /* of the running process: zeroed, never reused */

/* --- the kernel ------------------------------------------------------------------------------- */

typedef enum file_kind {
    FILE_FREE,
    FILE_EVENT,
    FILE_EPOLL,
    FILE_QUIET, /* timers, signals: never ready */
    FILE_LISTENER,
    FILE_CONN,   /* one end of a pair that keeps messages apart */
    FILE_STREAM, /* the same for bytes, whose values nobody reads */
    FILE_UDP,
    FILE_MEMORY,
} file_kind_t;

typedef struct file file_t;

typedef struct message {
    struct message *next;
    size_t bytes;
    unsigned file_count;
    file_t *files[4];
    uint8_t data[];
} message_t;

typedef struct watch {
    file_t *file;
    uint32_t events;
    uint64_t data;
    uint64_t seen; /* edges told so far */
} watch_t;

#define WATCHES_MOST 64

typedef struct node {
    uint8_t *base;
    size_t room, bytes;
    char name[96];
    uint64_t number;
} node_t;

typedef struct datagram {
    struct datagram *next;
    uint32_t bytes, segment; /* segment: of a GRO batch, otherwise 0 */
    uint16_t from_port;
    int64_t real_ns;
    uint8_t data[];
} datagram_t;

struct file {
    file_kind_t kind;
    unsigned refs;
    uint64_t edges; /* counts what may have made it ready */
    uint64_t count; /* eventfd, stream: bytes */
    bool timer;     /* cancelled when the clock is set */
    bool set;
    /* listener */
    char path[108];
    file_t *backlog[32];
    unsigned waiting;
    /* conn, stream */
    file_t *peer;
    uint32_t peer_pid, owner_pid;
    bool shut;
    message_t *first, *last;
    unsigned queued;
    /* epoll */
    watch_t *watches;
    /* memory */
    node_t *node;
    int64_t locks[2];
    /* udp */
    uint16_t port;
    uint64_t cookie;
    datagram_t *rx_first, *rx_last;
    unsigned rx_queued;
    uint32_t drops;
    int64_t blocked_until_ns;
    bool bound, connected;
    int gro;
};

void files_begin(void);
void files_move(void);
file_t *file_new(file_kind_t kind);
void file_release(file_t *file);
int fd_new(file_t *file); /* takes the reference. -1 with EMFILE */
file_t *fd_file(int fd);  /* NULL with EBADF */
int fd_give(int fd, actor_t *to);
int fd_close(int fd);
int fd_replace(int fd, file_t *with);
file_t *file_at(unsigned i);
file_t *listener_at(const char *path);
bool node_is_locked(const file_t *file, int64_t at);
void fds_close_all(const actor_t *of);
node_t *node_named(const char *name);
int memory_file(size_t room);
void *kernel_alloc(size_t bytes);
uint32_t file_events(const file_t *file);
void file_edge(file_t *file);
void files_clock_set(void);

int unix_pair(file_kind_t kind, int fds[2]);
file_t *unix_connect(const char *path);
ssize_t unix_send(file_t *file, const struct msghdr *m);
ssize_t unix_receive(file_t *file, struct msghdr *m);
void unix_hang_up(file_t *file);

ssize_t udp_put(file_t *file, const struct msghdr *m); /* a send call's one message */
int udp_get(file_t *file, struct msghdr *m);           /* -1: nothing is there */
void net_begin(void);
file_t *udp_of_port(uint16_t port);
unsigned net_waiting(void); /* datagrams that the worker has not taken */

int waits_epoll(file_t *epoll, struct epoll_event *out, int most, int64_t until_ns);
int waits_control(file_t *epoll, int op, file_t *file, const struct epoll_event *event);
void waits_forget(const file_t *file);
int waits_poll(struct pollfd *fds, unsigned count, int64_t until_ns);

/* --- actors and judge ------------------------------------------------------------------------- */

#define CHANNEL "ch"
#define NAME_SPACE "sim"
#define POOL "p"
#define RUNTIME "/sim"
#define OWN_PORT 5000
#define PEER_PORT 6000

void pool_spawn(void);
void client_spawn(role_t role, unsigned index);
unsigned clients_left(unsigned roles);

/* Payloads are made and recognised here alone. */
#define PAYLOAD_LEAST 16u
void judge_begin(void);
uint32_t judge_ask(unsigned sender, uint8_t *payload, uint32_t bytes, int64_t due_ns);
void judge_told(uint32_t packet, int rc, uint64_t sequence);
void judge_replacing(uint32_t packet, uint32_t old);
void judge_cancelled(uint32_t packet);
void judge_sender_left(unsigned sender, bool died);
void judge_wire(const uint8_t *data, size_t bytes, uint16_t to);
void judge_purged(void);                              /* what was received, too */
void judge_arrival(uint8_t *payload, uint32_t bytes); /* the next in the socket's queue */
void judge_no_room(void);                             /* for one in that queue */
void judge_purged(void);                              /* what was received, too */
void judge_reads(unsigned reader);                    /* from now on */
/* By a call that began then. */
void judge_got(unsigned reader, const uint8_t *data, size_t bytes, uint64_t lost_so_far,
               int64_t called_ns);
void judge_reader_left(unsigned reader);
void judge_at_rest(const void *segment);
typedef struct judge_sums {
    uint64_t sent, wire, arrived, delivered;
} judge_sums_t;
judge_sums_t judge_sums(void);

#endif
