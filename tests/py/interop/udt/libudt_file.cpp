// A program over the real libudt (Debian: libudt-dev) that sends or receives one file.
//
//     libudt_file serve|connect send|receive PORT FILE BYTES
//
// Loopback only. serve: listens on PORT; connect: to it. Exit status 0: all bytes were moved.
#include <arpa/inet.h>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <unistd.h>

#include <udt/udt.h>

static void quit(const char *what)
{
    fprintf(stderr, "libudt_file: %s: %s\n", what, UDT::getlasterror().getErrorMessage());
    _exit(2);
}

static UDTSOCKET get_connected(bool serve, int port)
{
    UDTSOCKET s = UDT::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto *address = reinterpret_cast<sockaddr *>(&at);
    if (!serve) {
        if (UDT::connect(s, address, sizeof at) == UDT::ERROR)
            quit("connect");
        return s;
    }
    int length = sizeof at;
    if (UDT::bind(s, address, sizeof at) == UDT::ERROR || UDT::listen(s, 1) == UDT::ERROR)
        quit("listen");
    UDTSOCKET accepted = UDT::accept(s, address, &length);
    if (accepted == UDT::INVALID_SOCK)
        quit("accept");
    return accepted;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    alarm(60);
    UDT::startup();
    UDTSOCKET s = get_connected(strcmp(argv[1], "serve") == 0, atoi(argv[3]));
    int64_t offset = 0;
    int64_t bytes = strtoll(argv[5], nullptr, 10);
    int64_t moved;
    if (strcmp(argv[2], "send") == 0) {
        std::fstream file(argv[4], std::ios::in | std::ios::binary);
        moved = UDT::sendfile(s, file, offset, bytes);
    } else {
        std::fstream file(argv[4], std::ios::out | std::ios::binary | std::ios::trunc);
        moved = UDT::recvfile(s, file, offset, bytes);
        file.close();
    }
    if (moved == UDT::ERROR)
        quit(argv[2]);
    UDT::close(s);
    _exit(moved == bytes ? 0 : 1); // its own threads take seconds to end
}
