/* flows.c: flows and their sockets. Opening one costs some system calls, so the listener is asked
 * for few datagrams at a time while clients are new (carry.c). */
#include "worker/agents/common/socket.h"
#include "worker/agents/proxy/proxy.h"

#include "base/rt_err.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

/* After a socket could not be opened, none is tried for so long: each datagram of a new client
 * would cost the system calls again. */
#define RETRY_NS (10 * RT_NS_PER_MS)
/* The worker of a flow whose end is so late did not run: what arrived meanwhile is read first. */
#define STOPPED_NS (100 * RT_NS_PER_MS)
#define READ_FIRST_NS (20 * RT_NS_PER_MS)
/* A client that sent one datagram has so long to send another, or its server to answer it, before
 * its flow may be given to somebody else. */
#define SILENT_NS RT_NS_PER_S

/* --- open ---------------------------------------------------------------------------------- */

/* A quarter of the worker's descriptors is reserved for other channels and for clients. */
static int check_files(proxy_agent_t *a)
{
    struct rlimit limit;
    a->files_most = UINT64_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return 0;
    a->files_most = limit.rlim_cur / 4 * 3;
    if (a->config.flows < a->files_most)
        return 0;
    return rt_err_set(-EMFILE,
                      "flows is %u, but this worker may open %llu files and a proxy uses up to 3/4 "
                      "of them: raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE= of the service) above "
                      "%u, or set flows below %llu",
                      a->config.flows, (unsigned long long)limit.rlim_cur,
                      a->config.flows / 3 * 4 + 4, (unsigned long long)a->files_most);
}

int proxy_flows_open(proxy_agent_t *a)
{
    int rc = check_files(a);
    if (rc < 0)
        return rc;
    rt_secret_t secret;
    if (getrandom(&secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        return rt_err_set(-errno, "getrandom: %s", strerror(errno));
    wrk_channel_t *ch = a->channel;
    void *table = wrk_take_memory(ch, flow_table_bytes(a->config.flows));
    void *sources = wrk_take_memory(ch, flow_table_bytes(a->config.flows));
    a->flows = wrk_take_memory(ch, a->config.flows * sizeof *a->flows);
    a->kept = wrk_take_memory(ch, a->config.flows * sizeof *a->kept);
    if (table == NULL || sources == NULL || a->flows == NULL || a->kept == NULL)
        return -ENOMEM;
    flow_table_init(&a->table, table, a->config.flows, &secret);
    flow_table_init(&a->sources, sources, a->config.flows, &secret);
    return poller_open(&a->poller);
}

static void end_flow(proxy_agent_t *a, uint32_t place)
{
    proxy_flow_t *flow = &a->flows[place];
    if (flow_table_rank(&a->table, place) == PROXY_KEPT && --a->kept[flow->kept_for] == 0)
        flow_table_remove(&a->sources, flow->kept_for);
    poller_forget(&a->poller, &flow->source);
    udp_close(&flow->udp);
    flow_table_remove(&a->table, place);
    rt_store_relaxed(&a->state->gauges[SHM_PROXY_GAUGE_flows], a->table.count);
}

bool proxy_flows_end(proxy_agent_t *a, uint32_t most)
{
    for (uint32_t i = 0; i < most && a->table.count > 0; i++)
        end_flow(a, flow_table_oldest(&a->table));
    return a->table.count == 0;
}

void proxy_flows_close(proxy_agent_t *a)
{
    (void)proxy_flows_end(a, UINT32_MAX);
}

/* --- clients ------------------------------------------------------------------------------- */

static flow_key_t key_of(const udp_addr_t *client)
{
    flow_key_t key = {{(uint64_t)client->sa.sa_family << 16 | udp_addr_port(client), 0, 0}};
    if (client->sa.sa_family == AF_INET6) {
        key.word[0] |= (uint64_t)client->v6.sin6_scope_id << 32;
        memcpy(&key.word[1], &client->v6.sin6_addr, sizeof client->v6.sin6_addr);
    } else {
        key.word[1] = client->v4.sin_addr.s_addr;
    }
    return key;
}

/* An IPv6 host can have any address of its network of 64 bits. IPv4 addresses in IPv6 form differ
 * in the last bits alone. */
static flow_key_t source_of(const udp_addr_t *client)
{
    flow_key_t key = key_of(client);
    key.word[0] &= ~(uint64_t)UINT16_MAX;
    if (client->sa.sa_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&client->v6.sin6_addr))
        key.word[2] = 0;
    return key;
}

/* source: its place, or FLOW_NONE. */
static bool has_its_share(const proxy_agent_t *a, uint32_t source)
{
    uint32_t share = a->config.flows > 4 ? a->config.flows / 4 : 1;
    return source != FLOW_NONE && a->kept[source] >= share;
}

/* Its client has sent another datagram. */
static void raise_rank(proxy_agent_t *a, uint32_t place, const udp_addr_t *client,
                       int64_t now_mono_ns)
{
    flow_key_t key = source_of(client);
    uint32_t source = flow_table_find(&a->sources, &key);
    if (has_its_share(a, source)) {
        flow_table_use(&a->table, place, PROXY_EXTRA, now_mono_ns);
        return;
    }
    if (source == FLOW_NONE)
        source = flow_table_add(&a->sources, &key, now_mono_ns);
    a->kept[source]++;
    a->flows[place].kept_for = source;
    flow_table_use(&a->table, place, PROXY_KEPT, now_mono_ns);
}

/* Only an address of this host can be bound. */
static bool is_of_this_host(const udp_addr_t *address)
{
    udp_addr_t local = *address;
    udp_addr_set_port(&local, 0);
    int fd = socket(local.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && bind(fd, &local.sa, udp_addr_len(&local)) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is;
}

bool proxy_is_own_address(const proxy_agent_t *a, const udp_addr_t *address)
{
    const udp_addr_t *local = &a->listener.eff.local;
    if (udp_addr_port(address) != udp_addr_port(local))
        return false;
    return udp_addr_equal(address, local) ||
           (udp_addr_is_wildcard(local) && is_of_this_host(address));
}

static int open_socket(proxy_agent_t *a, proxy_flow_t *flow)
{
    int rc = udp_open(&flow->udp, &a->flow_config);
    if (rc < 0)
        return rc;
    if ((uint64_t)flow->udp.fd >= a->files_most)
        rc = -EMFILE;
    if (udp_addr_equal(&flow->udp.eff.local, &a->flow_config.remote))
        rc = -EADDRINUSE; /* the kernel chose the server's own: it would answer itself */
    flow->source = (wrk_source_t){.channel = a->channel, .fd = -1};
    rc = rc ? rc : poller_watch(&a->poller, &flow->source, flow->udp.fd, EPOLLIN);
    if (rc < 0)
        udp_close(&flow->udp);
    return rc;
}

static uint32_t refuse(proxy_agent_t *a, int error)
{
    wrk_note(a->channel, SHM_EVENT_flow_refused, 1, error, a->table.count, a->config.flows,
             rt_mono_ns());
    return FLOW_NONE;
}

/* Ends the flow that has been silent for longest of this rank, if for silent_ns. */
static bool displace(proxy_agent_t *a, proxy_rank_t rank, int64_t silent_ns, int64_t now_mono_ns)
{
    for (unsigned i = 0; i < PROXY_AGENT_EXPIRIES; i++) {
        uint32_t oldest = flow_table_oldest_of(&a->table, rank);
        if (oldest == FLOW_NONE || flow_table_used_ns(&a->table, oldest) > now_mono_ns - silent_ns)
            return false;
        if (a->flows[oldest].on_paths == 0) {
            end_flow(a, oldest);
            proxy_count(a, SHM_PROXY_COUNT_flows_displaced, 1);
            return true;
        }
        flow_table_touch(&a->table, oldest, now_mono_ns);
    }
    return false;
}

static bool make_room(proxy_agent_t *a, const udp_addr_t *client, int64_t now_mono_ns)
{
    if (displace(a, PROXY_NEW, SILENT_NS, now_mono_ns))
        return true;
    flow_key_t key = source_of(client);
    return !has_its_share(a, flow_table_find(&a->sources, &key)) &&
           displace(a, PROXY_EXTRA, 0, now_mono_ns);
}

static uint32_t open_flow(proxy_agent_t *a, const flow_key_t *key, const udp_addr_t *client,
                          int64_t now_mono_ns)
{
    if (now_mono_ns < a->open_from_ns)
        return refuse(a, a->open_error);
    if (proxy_is_own_address(a, client)) /* forged: answers would come back as its datagrams */
        return refuse(a, EADDRINUSE);
    if (a->table.count == a->config.flows && !make_room(a, client, now_mono_ns))
        return refuse(a, ENOSPC);
    uint32_t place = flow_table_add(&a->table, key, now_mono_ns);
    proxy_flow_t *flow = &a->flows[place];
    int rc = open_socket(a, flow);
    if (rc < 0) {
        rt_err_clear();
        flow_table_remove(&a->table, place);
        a->open_error = -rc;
        a->open_from_ns = now_mono_ns + RETRY_NS;
        return refuse(a, -rc);
    }
    flow->client = *client;
    flow->local.sa.sa_family = AF_UNSPEC;
    flow->on_paths = 0;
    proxy_count(a, SHM_PROXY_COUNT_flows_opened, 1);
    rt_store_relaxed(&a->state->gauges[SHM_PROXY_GAUGE_flows], a->table.count);
    return place;
}

uint32_t proxy_flow_of(proxy_agent_t *a, const udp_addr_t *client, int64_t now_mono_ns)
{
    flow_key_t key = key_of(client);
    uint32_t place = flow_table_find(&a->table, &key);
    if (place == FLOW_NONE)
        return open_flow(a, &key, client, now_mono_ns);
    if (flow_table_rank(&a->table, place) == PROXY_KEPT)
        flow_table_touch(&a->table, place, now_mono_ns);
    else
        raise_rank(a, place, client, now_mono_ns);
    return place;
}

/* --- idle flows ---------------------------------------------------------------------------- */

int64_t proxy_flows_deadline_ns(const proxy_agent_t *a)
{
    uint32_t oldest = flow_table_oldest(&a->table);
    if (oldest == FLOW_NONE)
        return RT_NEVER_NS;
    int64_t at = flow_table_used_ns(&a->table, oldest) + a->config.idle_ns;
    return at > a->expire_from_ns ? at : a->expire_from_ns;
}

void proxy_flows_expire(proxy_agent_t *a, int64_t now_mono_ns)
{
    int64_t due_ns = proxy_flows_deadline_ns(a);
    if (due_ns != RT_NEVER_NS && now_mono_ns - due_ns > STOPPED_NS)
        a->expire_from_ns = now_mono_ns + READ_FIRST_NS;
    for (unsigned i = 0; i < PROXY_AGENT_EXPIRIES && proxy_flows_deadline_ns(a) <= now_mono_ns;
         i++) {
        uint32_t oldest = flow_table_oldest(&a->table);
        if (a->flows[oldest].on_paths > 0) {
            flow_table_touch(&a->table, oldest, now_mono_ns);
            continue;
        }
        end_flow(a, oldest);
        proxy_count(a, SHM_PROXY_COUNT_flows_idle, 1);
    }
}
