/* Any file at all, mapped as a channel's segment. What must hold: it is refused with a text, or
 * every part lies inside of the file and the configuration is one that passes its check.
 *
 *      input: 2 bytes file length in pages, then the file's first bytes */
#include "base/rt_err.h"
#include "shm/rx_ring.h"
#include "shm/shm_segment.h"
#include "shm/slot_ring.h"
#include "shm/tx_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "fuzz: does not hold: %s (%s)\n", what, rt_err_text());
    abort();
}

static void require_inside(const shm_segment_t *s, const void *part, uint64_t bytes)
{
    uint64_t offset = (uint64_t)((const uint8_t *)part - s->base);
    require(offset >= SHM_PAGE_BYTES && offset <= s->bytes && bytes <= s->bytes - offset,
            "a part lies in the file");
}

static void check_parts(const shm_segment_t *s)
{
    const shm_config_t *c = &s->config;
    require(shm_config_check(c) == 0, "a mapped segment's configuration is sound");
    require(shm_segment_bytes(c) <= s->bytes, "a mapped segment fits its file");
    require_inside(s, s->status, sizeof *s->status);
    require_inside(s, s->tx, sizeof *s->tx);
    require_inside(s, s->rx, sizeof *s->rx);
    require_inside(s, s->report, sizeof *s->report);
    require_inside(s, s->producers, c->producers * sizeof *s->producers);
    require_inside(s, s->readers, c->readers * sizeof *s->readers);
    require_inside(s, s->stats, sizeof *s->stats);
    require_inside(s, s->reports, c->report_slots * sizeof *s->reports);
    require_inside(s, s->late, sizeof *s->late);
    require_inside(s, s->late_packets, c->late_slots * sizeof *s->late_packets);
    require_inside(s, s->tx_data, c->tx_bytes);
    require_inside(s, s->rx_data, c->rx_bytes);
    require(c->engine_bytes > 0 || s->engine == NULL, "there is an engine's part, or none");
    if (s->engine != NULL)
        require_inside(s, s->engine, c->engine_bytes);
}

/* What comes next in a worker and in a reader: the rings of a segment with any content open or not,
 * and can be looked at. */
static void use(shm_segment_t *s)
{
    tx_queue_t queue;
    tx_item_t item;
    rx_writer_t writer;
    rx_reader_t reader;
    slot_reader_t reports;
    shm_report_t report;
    rx_packet_t packet;
    slot_writer_t late;
    slot_reader_t late_reader;
    shm_late_packet_t packet_late = {0};
    uint8_t buffer[64];
    unsigned budget = 64;
    if (tx_queue_init(&queue, s, 1) == 0)
        while (tx_queue_next(&queue, 1, &budget, &item) != 0)
            ;
    if (rx_writer_init(&writer, s) == 0)
        (void)rx_writer_room(&writer, 1, 100);
    require(rx_reader_init(&reader, s, s->config.readers, 0, 1) < 0, "a slot too high is refused");
    if (s->config.readers > 0 && rx_reader_init(&reader, s, 0, s->config.read_mode, 1) == 0)
        for (unsigned i = 0;
             i < 16 && rx_reader_next(&reader, buffer, sizeof buffer, &packet, NULL); i++)
            ;
    uint32_t late_slots = s->config.late_slots;
    slot_writer_init(&late, s->late, s->late_packets, late_slots, sizeof packet_late);
    slot_reader_init(&late_reader, s->late, s->late_packets, late_slots, sizeof packet_late);
    (void)slot_writer_put(&late, &packet_late);
    (void)slot_reader_next(&late_reader, &packet_late, 1);
    slot_reader_init(&reports, s->report, s->reports, s->config.report_slots,
                     (uint32_t)sizeof(shm_report_t));
    (void)slot_reader_next(&reports, &report, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2)
        return 0;
    off_t file_bytes = (off_t)(data[0] | data[1] << 8) * SHM_PAGE_BYTES;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data + 2, bytes - 2) == (ssize_t)(bytes - 2), "a file is made");
    require(ftruncate(fd, file_bytes) == 0, "a file has a length");

    shm_segment_t s = {0};
    rt_err_clear();
    int rc = shm_segment_map(&s, fd, 1);
    require(rc == 0 || rt_err_text()[0] != '\0', "a refusal says why");
    require(rc == 0 || s.base == NULL, "a refusal leaves nothing mapped");
    if (rc == 0) {
        check_parts(&s);
        use(&s);
        shm_segment_unmap(&s);
    }
    close(fd);
    return 0;
}
