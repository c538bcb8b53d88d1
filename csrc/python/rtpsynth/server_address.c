#include "python/rtpsynth/server.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

int address_check_port(int port)
{
    if (port >= 0 && port <= 65535)
        return 0;
    PyErr_SetString(PyExc_ValueError, "port must be in range 0..65535");
    return -1;
}

sa_family_t address_family_of(const shm_addr_t *address)
{
    return address->family == 6 ? AF_INET6 : AF_INET;
}

/* --- resolving ------------------------------------------------------------------------------ */

static int take_first(shm_addr_t *out, const struct addrinfo *list)
{
    *out = (shm_addr_t){.family = 0};
    for (const struct addrinfo *at = list; at != NULL && out->family == 0; at = at->ai_next) {
        if (at->ai_family == AF_INET) {
            struct sockaddr_in v4;
            memcpy(&v4, at->ai_addr, sizeof v4);
            *out = (shm_addr_t){.family = 4, .port = ntohs(v4.sin_port)};
            memcpy(out->ip, &v4.sin_addr, 4);
        } else if (at->ai_family == AF_INET6) {
            struct sockaddr_in6 v6;
            memcpy(&v6, at->ai_addr, sizeof v6);
            *out =
                (shm_addr_t){.family = 6, .port = ntohs(v6.sin6_port), .scope = v6.sin6_scope_id};
            memcpy(out->ip, &v6.sin6_addr, 16);
        }
    }
    return out->family != 0 ? 0 : EAI_FAMILY;
}

static int resolve(shm_addr_t *out, const char *host, int port, int family)
{
    char service[8];
    struct addrinfo hints = {.ai_family = family,
                             .ai_socktype = SOCK_DGRAM,
                             .ai_protocol = IPPROTO_UDP,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    (void)snprintf(service, sizeof service, "%d", port);
    int rc = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &list);
    if (rc != 0)
        return rc;
    rc = take_first(out, list);
    freeaddrinfo(list);
    return rc;
}

int address_resolve(shm_addr_t *out, const char *host, int port, int family)
{
    int rc;
    Py_BEGIN_ALLOW_THREADS rc = resolve(out, host, port, family);
    Py_END_ALLOW_THREADS if (rc == 0) return 0;
    PyErr_Format(PyExc_OSError, "getaddrinfo failed: %s", gai_strerror(rc));
    return -1;
}

/* --- families ------------------------------------------------------------------------------- */

typedef struct family_name {
    const char *name;
    int family;
} family_name_t;

static const family_name_t FAMILIES[] = {
    {"auto", AF_UNSPEC}, {"unspec", AF_UNSPEC}, {"any", AF_UNSPEC},
    {"ipv4", AF_INET},   {"inet", AF_INET},     {"af_inet", AF_INET},
    {"ipv6", AF_INET6},  {"inet6", AF_INET6},   {"af_inet6", AF_INET6},
};

static int family_by_name(PyObject *name, int *family)
{
    for (size_t i = 0; i < sizeof FAMILIES / sizeof FAMILIES[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(name, FAMILIES[i].name) == 0) {
            *family = FAMILIES[i].family;
            return 0;
        }
    }
    PyErr_SetString(PyExc_ValueError, "bind_family string must be one of: auto, ipv4, ipv6");
    return -1;
}

static int family_by_number(PyObject *given, int *family)
{
    long number = PyLong_AsLong(given);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number == AF_UNSPEC || number == AF_INET || number == AF_INET6) {
        *family = (int)number;
    } else if (number == 4 || number == 6) {
        *family = number == 4 ? AF_INET : AF_INET6;
    } else {
        PyErr_SetString(PyExc_ValueError,
                        "bind_family must be one of: 0, 4, 6, AF_UNSPEC, AF_INET, AF_INET6");
        return -1;
    }
    return 0;
}

int address_family(PyObject *given, int *family)
{
    *family = AF_UNSPEC;
    if (given == NULL || given == Py_None)
        return 0;
    if (PyUnicode_Check(given))
        return family_by_name(given, family);
    if (PyLong_Check(given))
        return family_by_number(given, family);
    PyErr_SetString(PyExc_TypeError, "bind_family must be an int, str, or None");
    return -1;
}

/* --- pairs ---------------------------------------------------------------------------------- */

PyObject *address_pair(const shm_addr_t *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(address_family_of(address), address->ip, host, sizeof host);
    return Py_BuildValue("(si)", host, (int)address->port);
}
