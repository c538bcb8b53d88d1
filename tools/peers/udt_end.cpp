// What `shmring bench udt` compares with: one end of streams over another library, built at first
// use. Compiled with -DWITH_UDT (libudt-dev) or -DWITH_SRT (libsrt-openssl-dev, file mode).
//
//     peer sink STREAMS ADDRESS           listens, receives, prints what came
//     peer source STREAMS ADDRESS PORT    connects, sends without end
//
// The first line on standard output says {"port": N, "pids": [...]}; a sink then prints a line
// every 20 ms: CLOCK_MONOTONIC in ns and the bytes received so far on each stream. Both run until
// they are killed.
#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>
#include <vector>

static const int BLOCK_BYTES = 1 << 20;
static const std::chrono::milliseconds BETWEEN_SAMPLES(20);

#ifdef WITH_UDT
#include <udt/udt.h>

using handle = UDTSOCKET;
static const int OK = 0;

static void start()
{
    UDT::startup();
}

static handle open_socket()
{
    return UDT::socket(AF_INET, SOCK_STREAM, 0);
}

static int bind_to(handle s, sockaddr_in *a)
{
    return UDT::bind(s, reinterpret_cast<sockaddr *>(a), sizeof *a);
}

static int name_of(handle s, sockaddr_in *a)
{
    int length = sizeof *a;
    return UDT::getsockname(s, reinterpret_cast<sockaddr *>(a), &length);
}

static int listen_for(handle s, int count)
{
    return UDT::listen(s, count);
}

static handle accept_one(handle s)
{
    sockaddr_in a;
    int length = sizeof a;
    return UDT::accept(s, reinterpret_cast<sockaddr *>(&a), &length);
}

static int connect_to(handle s, sockaddr_in *a)
{
    return UDT::connect(s, reinterpret_cast<sockaddr *>(a), sizeof *a);
}

static int send_some(handle s, const char *data, int bytes)
{
    return UDT::send(s, data, bytes, 0);
}

static int receive_some(handle s, char *data, int bytes)
{
    return UDT::recv(s, data, bytes, 0);
}

static const char *reason()
{
    return UDT::getlasterror().getErrorMessage();
}
#else
#include <srt/srt.h>

using handle = SRTSOCKET;
static const int OK = 0;

static void start()
{
    srt_startup();
    srt_setloglevel(0);
}

static handle open_socket()
{
    handle s = srt_create_socket();
    SRT_TRANSTYPE file = SRTT_FILE;
    srt_setsockflag(s, SRTO_TRANSTYPE, &file, sizeof file);
    return s;
}

static int bind_to(handle s, sockaddr_in *a)
{
    return srt_bind(s, reinterpret_cast<sockaddr *>(a), sizeof *a);
}

static int name_of(handle s, sockaddr_in *a)
{
    int length = sizeof *a;
    return srt_getsockname(s, reinterpret_cast<sockaddr *>(a), &length);
}

static int listen_for(handle s, int count)
{
    return srt_listen(s, count);
}

static handle accept_one(handle s)
{
    sockaddr_in a;
    int length = sizeof a;
    return srt_accept(s, reinterpret_cast<sockaddr *>(&a), &length);
}

static int connect_to(handle s, sockaddr_in *a)
{
    return srt_connect(s, reinterpret_cast<sockaddr *>(a), sizeof *a);
}

static int send_some(handle s, const char *data, int bytes)
{
    return srt_send(s, data, bytes);
}

static int receive_some(handle s, char *data, int bytes)
{
    return srt_recv(s, data, bytes);
}

static const char *reason()
{
    return srt_getlasterror_str();
}
#endif

[[noreturn]] static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, reason());
    _exit(1); // the libraries' own threads take seconds to end
}

static sockaddr_in address_of(const char *address, int port)
{
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, address, &a.sin_addr);
    return a;
}

static void introduce(int port)
{
    printf("{\"port\": %d, \"pids\": [%d]}\n", port, static_cast<int>(getpid()));
    fflush(stdout);
}

static void receive(handle s, std::atomic<uint64_t> *received)
{
    std::vector<char> block(BLOCK_BYTES);
    int n;
    while ((n = receive_some(s, block.data(), BLOCK_BYTES)) > 0)
        received->fetch_add(static_cast<uint64_t>(n), std::memory_order_relaxed);
}

static void sink(int streams, sockaddr_in a)
{
    handle listener = open_socket();
    if (bind_to(listener, &a) != OK || name_of(listener, &a) != OK)
        fail("bind");
    if (listen_for(listener, streams) != OK)
        fail("listen");
    introduce(ntohs(a.sin_port));
    std::vector<std::atomic<uint64_t>> received(static_cast<size_t>(streams));
    for (auto &count : received) {
        handle s = accept_one(listener);
        if (s < 0)
            fail("accept");
        std::thread(receive, s, &count).detach();
    }
    for (;;) {
        timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        printf("%" PRId64, static_cast<int64_t>(now.tv_sec) * 1000000000 + now.tv_nsec);
        for (auto &count : received)
            printf(" %" PRIu64, count.load(std::memory_order_relaxed));
        printf("\n");
        fflush(stdout);
        std::this_thread::sleep_for(BETWEEN_SAMPLES);
    }
}

static void send_all(handle s)
{
    std::vector<char> block(BLOCK_BYTES);
    for (;;) {
        int n = 0;
        for (int sent = 0; sent < BLOCK_BYTES; sent += n)
            if ((n = send_some(s, block.data() + sent, BLOCK_BYTES - sent)) <= 0)
                fail("send");
    }
}

static void source(int streams, sockaddr_in to)
{
    std::vector<std::thread> senders;
    for (int i = 0; i < streams; i++) {
        handle s = open_socket();
        if (connect_to(s, &to) != OK)
            fail("connect");
        senders.emplace_back(send_all, s);
    }
    introduce(ntohs(to.sin_port));
    for (auto &sender : senders)
        sender.join();
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); // a benchmark that was killed leaves nothing running
    start();
    if (argc == 4 && strcmp(argv[1], "sink") == 0)
        sink(atoi(argv[2]), address_of(argv[3], 0));
    else if (argc == 5 && strcmp(argv[1], "source") == 0)
        source(atoi(argv[2]), address_of(argv[3], atoi(argv[4])));
    return 2;
}
