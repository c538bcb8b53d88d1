// What libudt's own programs sendfile and recvfile do on the wire, over the real libudt.
//
//     libudt_app sendfile PORT               serves one client, which names a file
//     libudt_app recvfile PORT REMOTE LOCAL  asks for a file
//
// Loopback only. Exit status 0: the file was moved; 3: the server has no such file.
#include <arpa/inet.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <unistd.h>

#include <udt/udt.h>

static void check(int64_t outcome, const char *what)
{
    if (outcome != UDT::ERROR)
        return;
    fprintf(stderr, "libudt_app: %s: %s\n", what, UDT::getlasterror().getErrorMessage());
    _exit(2);
}

static void recv_all(UDTSOCKET s, void *room, int bytes)
{
    for (int done = 0; done < bytes;) {
        int got = UDT::recv(s, static_cast<char *>(room) + done, bytes - done, 0);
        check(got, "recv");
        done += got;
    }
}

static void send_all(UDTSOCKET s, const void *data, int bytes)
{
    for (int done = 0; done < bytes;) {
        int sent = UDT::send(s, static_cast<const char *>(data) + done, bytes - done, 0);
        check(sent, "send");
        done += sent;
    }
}

static int serve(UDTSOCKET listener, sockaddr_in &at)
{
    int length = sizeof at;
    auto *address = reinterpret_cast<sockaddr *>(&at);
    check(UDT::bind(listener, address, sizeof at), "bind");
    check(UDT::listen(listener, 10), "listen");
    UDTSOCKET s = UDT::accept(listener, address, &length);
    check(s, "accept");
    char name[1024] = "";
    int name_bytes = 0;
    recv_all(s, &name_bytes, sizeof name_bytes);
    if (name_bytes < 1 || name_bytes >= static_cast<int>(sizeof name))
        return 2;
    recv_all(s, name, name_bytes);
    std::fstream file(name, std::ios::in | std::ios::binary);
    file.seekg(0, std::ios::end);
    int64_t size = file.tellg(); // -1: there is none
    file.seekg(0, std::ios::beg);
    send_all(s, &size, sizeof size);
    int64_t offset = 0;
    if (size > 0)
        check(UDT::sendfile(s, file, offset, size), "sendfile");
    UDT::close(s);
    return size < 0 ? 3 : 0;
}

static int fetch(UDTSOCKET s, sockaddr_in &at, const char *remote, const char *local)
{
    check(UDT::connect(s, reinterpret_cast<sockaddr *>(&at), sizeof at), "connect");
    int name_bytes = static_cast<int>(strlen(remote));
    send_all(s, &name_bytes, sizeof name_bytes);
    send_all(s, remote, name_bytes);
    int64_t size = 0;
    recv_all(s, &size, sizeof size);
    if (size < 0)
        return 3;
    std::fstream file(local, std::ios::out | std::ios::binary | std::ios::trunc);
    int64_t offset = 0;
    int64_t moved = size > 0 ? UDT::recvfile(s, file, offset, size) : 0;
    check(moved, "recvfile");
    file.close();
    UDT::close(s);
    return moved == size ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    alarm(60);
    UDT::startup();
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<uint16_t>(atoi(argv[2])));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    UDTSOCKET s = UDT::socket(AF_INET, SOCK_STREAM, 0);
    bool serves = strcmp(argv[1], "sendfile") == 0;
    if (!serves && argc < 5)
        return 2;
    // libudt's own threads take seconds to end.
    _exit(serves ? serve(s, at) : fetch(s, at, argv[3], argv[4]));
}
