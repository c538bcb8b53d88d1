#include "proto/udt/udt_listener.h"

#include <string.h>

void udt_listener_init(udt_listener_t *l, udt_mode_t mode, const udt_secret_t *secret)
{
    *l = (udt_listener_t){.mode = mode, .secret = *secret};
}

/* The client's own datagram, with that one field and the destination changed. */
static void put_reply(uint8_t reply[UDT_HANDSHAKE_BYTES], const udt_handshake_t *hs)
{
    udt_put_handshake(reply, hs, hs->socket_id);
}

static udt_listener_verdict_t answer_first(udt_listener_t *l, udt_handshake_t *hs,
                                           const udt_address_t *from, int64_t now_mono_ns,
                                           uint8_t reply[UDT_HANDSHAKE_BYTES])
{
    l->counters.cookies++;
    hs->cookie = udt_cookie_make(&l->secret, from, now_mono_ns);
    put_reply(reply, hs);
    return UDT_LISTENER_REPLY;
}

void udt_listener_refuse(const udt_handshake_t *request, uint8_t reply[UDT_HANDSHAKE_BYTES])
{
    udt_handshake_t hs = *request;
    hs.request = UDT_REQUEST_REFUSED;
    put_reply(reply, &hs);
}

udt_listener_verdict_t udt_listener_receive(udt_listener_t *l, const void *data, size_t size,
                                            const udt_address_t *from, int64_t now_mono_ns,
                                            uint8_t reply[UDT_HANDSHAKE_BYTES],
                                            udt_handshake_t *request)
{
    udt_view_t view;
    if (size != UDT_HANDSHAKE_BYTES || udt_packet_parse(data, size, &view) != UDT_PARSE_OK ||
        !view.is_control || view.type != UDT_TYPE_HANDSHAKE || view.socket_id != 0) {
        l->counters.bad_parse++;
        return UDT_LISTENER_IGNORE;
    }
    udt_handshake_read(&view, request);
    if (!udt_handshake_is_valid(request)) {
        l->counters.bad_values++;
        return UDT_LISTENER_IGNORE;
    }
    if (request->request == UDT_REQUEST_REGULAR && request->cookie == UDT_NO_COOKIE)
        return answer_first(l, request, from, now_mono_ns, reply);
    if (request->request != UDT_REQUEST_RESPONSE ||
        !udt_cookie_is_good(&l->secret, from, request->cookie, now_mono_ns)) {
        l->counters.bad_cookie++;
        return UDT_LISTENER_IGNORE;
    }
    if (request->version != UDT_VERSION || request->mode != (uint32_t)l->mode) {
        l->counters.bad_version++;
        udt_listener_refuse(request, reply);
        return UDT_LISTENER_REPLY;
    }
    l->counters.requests++;
    return UDT_LISTENER_REQUEST;
}
