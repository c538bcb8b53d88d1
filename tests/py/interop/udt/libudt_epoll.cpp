// What an epoll of libudt answers, one line for each question: "error CODE", or "ready READ WRITE".
// The questions are those of test_epoll.py, in its order.
#include <udt/udt.h>

#include <arpa/inet.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

static int epoll_id;

static int error_code()
{
    return UDT::getlasterror().getErrorCode();
}

static void fail(const char *what)
{
    std::fprintf(stderr, "%s: %s\n", what, UDT::getlasterror().getErrorMessage());
    std::exit(1);
}

static void ask(int64_t timeout_ms)
{
    std::set<UDTSOCKET> to_read, to_write;
    if (UDT::epoll_wait(epoll_id, &to_read, &to_write, timeout_ms) < 0)
        std::printf("error %d\n", error_code());
    else
        std::printf("ready %zu %zu\n", to_read.size(), to_write.size());
}

static void receive(UDTSOCKET sock, int size)
{
    char room[64];
    int got = UDT::recv(sock, room, size, 0);
    if (got == UDT::ERROR)
        std::printf("error %d\n", error_code());
    else
        std::printf("got %d\n", got);
}

int main()
{
    sockaddr_in here, peer;
    int length = sizeof here, peer_length = sizeof peer;
    std::memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    UDT::startup();
    UDTSOCKET server = UDT::socket(AF_INET, SOCK_STREAM, 0);
    UDTSOCKET client = UDT::socket(AF_INET, SOCK_STREAM, 0);
    if (UDT::bind(server, reinterpret_cast<sockaddr *>(&here), sizeof here) == UDT::ERROR)
        fail("bind");
    if (UDT::listen(server, 5) == UDT::ERROR)
        fail("listen");
    UDT::getsockname(server, reinterpret_cast<sockaddr *>(&here), &length);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (UDT::connect(client, reinterpret_cast<sockaddr *>(&here), sizeof here) == UDT::ERROR)
        fail("connect");
    UDTSOCKET accepted = UDT::accept(server, reinterpret_cast<sockaddr *>(&peer), &peer_length);

    epoll_id = UDT::epoll_create();
    ask(-1);
    ask(0);
    ask(20);
    int events = UDT_EPOLL_IN | UDT_EPOLL_ERR;
    UDT::epoll_add_usock(epoll_id, accepted, &events);
    ask(20);
    UDT::send(client, "hello", 5, 0);
    ask(20000);
    receive(accepted, 3);
    ask(0);
    receive(accepted, 3);
    ask(20);
    UDT::send(client, "rest", 4, 0);
    UDT::close(client);
    ask(20000);
    receive(accepted, 9);
    receive(accepted, 9);
    while (UDT::getsockstate(accepted) != NONEXIST)
        usleep(10000);
    ask(20);
    ask(-1);
    UDT::cleanup();
    return 0;
}
