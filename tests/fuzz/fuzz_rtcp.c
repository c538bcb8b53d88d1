/* Any bytes as an RTCP compound. The first byte chooses whether reduced size is allowed. Once the
 * check has passed, nothing may fail any more. */
#include "proto/rtp/rtcp.h"

#include <stdlib.h>

#define REQUIRE(cond) \
    do {              \
        if (!(cond))  \
            abort();  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t touched;

static void touch(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        touched += data[i];
}

static void read_reports(const rtcp_packet_t *packet)
{
    rtcp_sender_t sender;
    rtcp_report_t report;
    touched += rtcp_packet_source(packet);
    if (packet->type == RTCP_SR)
        rtcp_read_sr(packet, &sender);
    for (unsigned i = 0; i < packet->count; i++)
        rtcp_read_report(packet, i, &report);
}

static void read_sdes(const rtcp_packet_t *packet, bool checked)
{
    rtcp_sdes_reader_t reader;
    rtcp_sdes_item_t item;
    int rc;
    rtcp_sdes_reader_init(&reader, packet);
    while ((rc = rtcp_sdes_next(&reader, &item)) == 1)
        touch(item.text, item.bytes);
    REQUIRE(!checked || rc == 0);
}

static void read_nack(const rtcp_packet_t *packet)
{
    touched += rtcp_packet_source(packet) + rtcp_nack_media_source(packet);
    for (unsigned i = 0; i < rtcp_nack_pair_count(packet); i++)
        touched += rtcp_nack_pair(packet, i).blp;
}

static void read_checked(const rtcp_packet_t *packet)
{
    if (packet->type == RTCP_SR || packet->type == RTCP_RR)
        read_reports(packet);
    if (packet->type == RTCP_APP)
        touch(packet->body, 8);
    if (packet->type == RTCP_RTPFB && packet->count == RTCP_FMT_NACK)
        read_nack(packet);
    if (packet->type == RTCP_BYE)
        for (unsigned i = 0; i < packet->count; i++)
            touched += rtcp_bye_source(packet, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rtcp_reader_t reader;
    rtcp_packet_t packet;
    int rc;
    if (size == 0)
        return 0;
    bool reduced_size = data[0] & 1;
    data++;
    size--;
    (void)rtcp_is_rtcp(data, size);
    rtcp_error_t error = rtcp_check(data, size, reduced_size);
    REQUIRE(error <= 0 && error >= RTCP_ERR_BODY);
    bool checked = error == RTCP_OK;
    rtcp_reader_init(&reader, data, size);
    while ((rc = rtcp_next(&reader, &packet)) == 1) {
        REQUIRE(packet.body + packet.body_bytes <= data + size);
        if (packet.type == RTCP_SDES)
            read_sdes(&packet, checked);
        else if (checked)
            read_checked(&packet);
    }
    REQUIRE(!checked || rc == 0);
    return 0;
}
