// One end of a connection over the real libudt (Debian: libudt-dev), which moves files.
//
//     libudt_end serve|connect|meet stream|message|file OWN_PORT PEER_PORT MSS 4|6 SEND RECEIVE BYTES
//
// Loopback only. Sends what is in the file SEND and writes BYTES of what comes to the file RECEIVE,
// at the same time; "-": nothing of the kind. stream: by send and recv; message: in messages, by
// sendmsg and recvmsg; file: by sendfile and recvfile. Exit status 0: all bytes were moved.
#include <arpa/inet.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <udt/udt.h>

static const size_t block_bytes = 100000;
static const size_t most_message = 30000;

static bool is_ipv6;
static std::string kind;

static bool complain(const char *what)
{
    fprintf(stderr, "libudt_end: %s: %s\n", what, UDT::getlasterror().getErrorMessage());
    return false;
}

static socklen_t loopback(int port, sockaddr_storage &at)
{
    if (is_ipv6) {
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_port = htons(static_cast<uint16_t>(port));
        six.sin6_addr = in6addr_loopback;
        memcpy(&at, &six, sizeof six);
        return sizeof six;
    }
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<uint16_t>(port));
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&at, &four, sizeof four);
    return sizeof four;
}

// Length of message number, as message_bytes of the tests.
static size_t message_bytes(size_t number)
{
    return 1 + number * 7919 % most_message;
}

static bool send_blocks(UDTSOCKET s, const std::vector<char> &data)
{
    for (size_t sent = 0, number = 0; sent < data.size(); number++) {
        size_t left = data.size() - sent;
        size_t most = kind == "message" ? message_bytes(number) : block_bytes;
        int n = static_cast<int>(left < most ? left : most);
        int rc = kind == "message" ? UDT::sendmsg(s, data.data() + sent, n, -1, true)
                                   : UDT::send(s, data.data() + sent, n, 0);
        if (rc == UDT::ERROR)
            return complain("send");
        sent += static_cast<size_t>(rc);
    }
    return true;
}

static bool receive_blocks(UDTSOCKET s, std::ofstream &out, int64_t bytes)
{
    std::vector<char> block(block_bytes);
    for (int64_t got = 0; got < bytes;) {
        int room = static_cast<int>(block.size());
        int rc = kind == "message" ? UDT::recvmsg(s, block.data(), room)
                                   : UDT::recv(s, block.data(), room, 0);
        if (rc == UDT::ERROR)
            return complain("receive");
        out.write(block.data(), rc);
        got += rc;
    }
    out.close();
    return out.good();
}

static bool send_all(UDTSOCKET s, const std::string &path)
{
    if (path == "-")
        return true;
    if (kind == "file") {
        std::fstream file(path, std::ios::in | std::ios::binary | std::ios::ate);
        int64_t offset = 0;
        int64_t bytes = file.tellg();
        return UDT::sendfile(s, file, offset, bytes) == bytes || complain("sendfile");
    }
    std::ifstream file(path, std::ios::binary);
    return send_blocks(s, {std::istreambuf_iterator<char>(file), {}});
}

static bool receive_all(UDTSOCKET s, const std::string &path, int64_t bytes)
{
    if (path == "-")
        return true;
    if (kind == "file") {
        std::fstream file(path, std::ios::out | std::ios::binary | std::ios::trunc);
        int64_t offset = 0;
        if (UDT::recvfile(s, file, offset, bytes) != bytes)
            return complain("recvfile");
        file.close();
        return file.good();
    }
    std::ofstream file(path, std::ios::binary);
    return receive_blocks(s, file, bytes);
}

static UDTSOCKET get_connected(const std::string &role, int own_port, int peer_port, int mss)
{
    UDTSOCKET s = UDT::socket(is_ipv6 ? AF_INET6 : AF_INET,
                              kind == "message" ? SOCK_DGRAM : SOCK_STREAM, 0);
    bool meet = role == "meet";
    sockaddr_storage at{};
    int length = static_cast<int>(loopback(own_port, at));
    auto *address = reinterpret_cast<sockaddr *>(&at);
    UDT::setsockopt(s, 0, UDT_MSS, &mss, sizeof mss);
    UDT::setsockopt(s, 0, UDT_RENDEZVOUS, &meet, sizeof meet);
    if (UDT::bind(s, address, length) == UDT::ERROR)
        return UDT::INVALID_SOCK;
    if (role == "serve")
        return UDT::listen(s, 5) == UDT::ERROR ? UDT::INVALID_SOCK : UDT::accept(s, address, &length);
    loopback(peer_port, at);
    return UDT::connect(s, address, length) == UDT::ERROR ? UDT::INVALID_SOCK : s;
}

int main(int argc, char **argv)
{
    if (argc != 10)
        return 2;
    alarm(60);
    kind = argv[2];
    is_ipv6 = strcmp(argv[6], "6") == 0;
    UDT::startup();
    UDTSOCKET s = get_connected(argv[1], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    if (s == UDT::INVALID_SOCK) {
        complain(argv[1]);
        _exit(2);
    }
    bool sent = false;
    std::thread sender([&] { sent = send_all(s, argv[7]); });
    bool received = receive_all(s, argv[8], strtoll(argv[9], nullptr, 10));
    sender.join();
    UDT::close(s);
    _exit(sent && received ? 0 : 1); // its own threads take seconds to end
}
