// The other side of test_udt_libudt: a program over the real libudt (Debian: libudt-dev).
//
//     libudt_peer serve|connect|meet stream|message OWN_PORT PEER_PORT SEND RECEIVE MSS TTL_MS 4|6
//
// Loopback only. Sends SEND bytes (or messages) that depend on their position, receives RECEIVE of
// them and checks each. Exit status 0: all were right; 1: not; 2: no connection.
#include <arpa/inet.h>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>
#include <vector>

#include <udt/udt.h>

#include "interop.h"

static bool is_stream;
static uint64_t to_send;
static uint64_t to_receive;
static int ttl_ms;

static bool is_ipv6;

struct address {
    sockaddr_storage at{};
    int length;

    explicit address(int port)
    {
        if (is_ipv6) {
            sockaddr_in6 six{};
            six.sin6_family = AF_INET6;
            six.sin6_port = htons(static_cast<uint16_t>(port));
            six.sin6_addr = in6addr_loopback;
            memcpy(&at, &six, sizeof six);
            length = sizeof six;
        } else {
            sockaddr_in four{};
            four.sin_family = AF_INET;
            four.sin_port = htons(static_cast<uint16_t>(port));
            four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            memcpy(&at, &four, sizeof four);
            length = sizeof four;
        }
    }

    sockaddr *get()
    {
        return reinterpret_cast<sockaddr *>(&at);
    }
};

static void complain(const char *what)
{
    fprintf(stderr, "libudt_peer: %s: %s\n", what, UDT::getlasterror().getErrorMessage());
}

static bool send_stream(UDTSOCKET s)
{
    std::vector<char> block(100000);
    for (uint64_t sent = 0; sent < to_send;) {
        uint64_t n = to_send - sent < block.size() ? to_send - sent : block.size();
        for (uint64_t i = 0; i < n; i++)
            block[i] = static_cast<char>(interop_byte(sent + i));
        int rc = UDT::send(s, block.data(), static_cast<int>(n), 0);
        if (rc == UDT::ERROR) {
            complain("send");
            return false;
        }
        sent += static_cast<uint64_t>(rc);
    }
    return true;
}

static bool send_messages(UDTSOCKET s)
{
    std::vector<char> message(INTEROP_MAX_MESSAGE);
    for (uint64_t number = 0; number < to_send; number++) {
        uint32_t n = interop_message(number, reinterpret_cast<uint8_t *>(message.data()));
        if (UDT::sendmsg(s, message.data(), static_cast<int>(n), ttl_ms, true) == UDT::ERROR) {
            complain("sendmsg");
            return false;
        }
    }
    return true;
}

static bool receive_stream(UDTSOCKET s)
{
    std::vector<char> block(100000);
    for (uint64_t got = 0; got < to_receive;) {
        int rc = UDT::recv(s, block.data(), static_cast<int>(block.size()), 0);
        if (rc == UDT::ERROR) {
            complain("recv");
            return false;
        }
        for (int i = 0; i < rc; i++) {
            if (static_cast<uint8_t>(block[static_cast<size_t>(i)]) != interop_byte(got++)) {
                fprintf(stderr, "libudt_peer: byte %" PRIu64 " is wrong\n", got - 1);
                return false;
            }
        }
    }
    return true;
}

static bool receive_messages(UDTSOCKET s)
{
    std::vector<char> message(INTEROP_MAX_MESSAGE);
    std::vector<uint8_t> want(INTEROP_MAX_MESSAGE);
    for (uint64_t number = 0; number < to_receive; number++) {
        int rc = UDT::recvmsg(s, message.data(), static_cast<int>(message.size()));
        if (rc == UDT::ERROR) {
            complain("recvmsg");
            return false;
        }
        uint32_t n = interop_message(number, want.data());
        if (static_cast<uint32_t>(rc) != n || memcmp(message.data(), want.data(), n) != 0) {
            fprintf(stderr, "libudt_peer: message %" PRIu64 " is wrong\n", number);
            return false;
        }
    }
    return true;
}

static UDTSOCKET open_socket(bool meet, int own_port, int mss)
{
    UDTSOCKET s = UDT::socket(is_ipv6 ? AF_INET6 : AF_INET, is_stream ? SOCK_STREAM : SOCK_DGRAM, 0);
    address own(own_port);
    UDT::setsockopt(s, 0, UDT_MSS, &mss, sizeof mss);
    UDT::setsockopt(s, 0, UDT_RENDEZVOUS, &meet, sizeof meet);
    if (UDT::bind(s, own.get(), own.length) == UDT::ERROR) {
        complain("bind");
        exit(2);
    }
    return s;
}

static UDTSOCKET get_connected(UDTSOCKET s, bool serve, int peer_port)
{
    if (serve) {
        address from(0);
        UDT::listen(s, 5);
        UDTSOCKET accepted = UDT::accept(s, from.get(), &from.length);
        if (accepted == UDT::INVALID_SOCK) {
            complain("accept");
            exit(2);
        }
        return accepted;
    }
    address peer(peer_port);
    if (UDT::connect(s, peer.get(), peer.length) == UDT::ERROR) {
        complain("connect");
        exit(2);
    }
    return s;
}

int main(int argc, char **argv)
{
    if (argc != 10)
        return 2;
    alarm(100);
    bool serve = strcmp(argv[1], "serve") == 0;
    bool meet = strcmp(argv[1], "meet") == 0;
    is_stream = strcmp(argv[2], "stream") == 0;
    to_send = strtoull(argv[5], nullptr, 10);
    to_receive = strtoull(argv[6], nullptr, 10);
    ttl_ms = atoi(argv[8]);
    is_ipv6 = strcmp(argv[9], "6") == 0;
    UDT::startup();
    UDTSOCKET s = open_socket(meet, atoi(argv[3]), atoi(argv[7]));
    UDTSOCKET talk = get_connected(s, serve, atoi(argv[4]));
    bool sent = false;
    std::thread sender([&] { sent = is_stream ? send_stream(talk) : send_messages(talk); });
    bool received = is_stream ? receive_stream(talk) : receive_messages(talk);
    sender.join();
    UDT::close(talk);
    _exit(sent && received ? 0 : 1); // its own threads take seconds to end
}
