/* Every offset of everything that two processes share. */
#include "shm/shm_layout.h"

#include "shm/ctl_msg.h"
#include "shm/layout_assert.h"

SIZE(shm_addr_t, 24);
SIZE(shm_group_t, 32);
SIZE(shm_impair_t, 96);
SIZE(shm_tx_record_t, 32);
SIZE(shm_rx_record_t, 24);
SIZE(shm_report_t, 64);
SIZE(shm_producer_t, RT_LINE_BYTES);
SIZE(shm_reader_t, RT_LINE_BYTES);

AT(shm_config_t, config_bytes, 0);
AT(shm_config_t, name, 4);
AT(shm_config_t, name_space, 69);
AT(shm_config_t, pool, 134);
AT(shm_config_t, engine, 199);
AT(shm_config_t, device, 215);
AT(shm_config_t, direction, 231);
AT(shm_config_t, held, 250);
AT(shm_config_t, stamp_every, 251);
AT(shm_config_t, ttl, 252);
AT(shm_config_t, multicast_interface, 260);
AT(shm_config_t, max_payload_bytes, 272);
AT(shm_config_t, tx_bytes, 288);
AT(shm_config_t, tx_capacity, 304);
AT(shm_config_t, tolerance_ns, 312);
AT(shm_config_t, catch_up, 320);
AT(shm_config_t, engine_bytes, 328);
AT(shm_config_t, late_slots, 336);
AT(shm_config_t, opener_pid, 340);
AT(shm_config_t, local, 344);
AT(shm_config_t, remote, 368);
AT(shm_config_t, groups, 392);
AT(shm_config_t, impair_tx, 648);
AT(shm_config_t, impair_rx, 744);
AT(shm_config_t, engine_config, 840);
AT(shm_config_t, tx_packet_bytes, 1336);
AT(shm_config_t, given, 1344);
SIZE(shm_config_t, 1352);

AT(shm_identity_t, magic, 0);
AT(shm_identity_t, version, 8);
AT(shm_identity_t, segment_bytes, 16);
AT(shm_identity_t, segment_id, 24);
AT(shm_identity_t, config, 32);
AT(shm_identity_t, openers, 1384);
AT(shm_identity_t, opener_mono_ns, 1392);
_Static_assert(sizeof(shm_identity_t) <= SHM_PAGE_BYTES, "identity is one page");

AT(shm_status_t, state, 0);
AT(shm_status_t, epoch, 4);
AT(shm_status_t, worker_pid, 8);
AT(shm_status_t, cpu, 12);
AT(shm_status_t, error, 24);
AT(shm_status_t, socket_fd, 28);
AT(shm_status_t, worker_slot, 60);
AT(shm_status_t, heartbeat_mono_ns, 64);
AT(shm_status_t, bound, 80);
AT(shm_status_t, txtime_reason, 104);
AT(shm_status_t, reason, 200);
SIZE(shm_status_t, 296);

AT(shm_tx_cursors_t, tail, 0);
AT(shm_tx_cursors_t, cancels, 8);
AT(shm_tx_cursors_t, head_place, 128);
AT(shm_tx_cursors_t, room_event, 132);
AT(shm_tx_cursors_t, finished, 136);
AT(shm_tx_cursors_t, read, 144);
AT(shm_tx_cursors_t, freeing_to, 152);
AT(shm_tx_cursors_t, sequence_high, 160);
AT(shm_tx_cursors_t, room_wanted, 256);
AT(shm_tx_cursors_t, watch_wanted, 260);
AT(shm_tx_cursors_t, bell_armed, 384);
SIZE(shm_tx_cursors_t, 512);

AT(shm_rx_cursors_t, tail, 0);
AT(shm_rx_cursors_t, floor, 8);
AT(shm_rx_cursors_t, sequence_high, 16);
AT(shm_rx_cursors_t, purged_sequence, 24);
AT(shm_rx_cursors_t, data_event, 32);
AT(shm_rx_cursors_t, shared_head, 128);
AT(shm_rx_cursors_t, shared_lost, 136);
AT(shm_rx_cursors_t, data_wanted, 256);
SIZE(shm_rx_cursors_t, 384);

AT(shm_tx_record_t, word, 0);
AT(shm_tx_record_t, time_ns, 8);
AT(shm_tx_record_t, enqueued_mono_ns, 16);
AT(shm_tx_record_t, payload_bytes, 24);
AT(shm_tx_record_t, producer, 26);

AT(shm_rx_record_t, word, 0);
AT(shm_rx_record_t, time_ns, 8);
AT(shm_rx_record_t, payload_bytes, 16);
AT(shm_rx_record_t, stamp, 18);
AT(shm_rx_record_t, tos, 19);
AT(shm_rx_record_t, tag, 20);

AT(shm_report_t, sequence, 0);
AT(shm_report_t, scheduled_ns, 8);
AT(shm_report_t, enqueued_ns, 16);
AT(shm_report_t, woken_ns, 24);
AT(shm_report_t, sent_ns, 32);
AT(shm_report_t, handed_ns, 40);
AT(shm_report_t, stamped_ns, 48);
AT(shm_report_t, error, 56);
AT(shm_report_t, verdict, 60);
AT(shm_report_t, stamp, 61);
AT(shm_report_t, batch, 62);

AT(shm_late_packet_t, report, 0);
AT(shm_late_packet_t, noted_mono_ns, 64);
AT(shm_late_packet_t, producer, 72);
AT(shm_late_packet_t, producer_pid, 76);
SIZE(shm_late_packet_t, 80);

AT(shm_producer_t, intent, 0);
AT(shm_producer_t, intent_units, 8);
AT(shm_producer_t, owner, 12);
AT(shm_producer_t, reserved, 16);

AT(shm_reader_t, cursor, 0);
AT(shm_reader_t, lost, 8);
AT(shm_reader_t, taken, 16);
AT(shm_reader_t, owner, 24);
AT(shm_reader_t, bell_want, 28);
AT(shm_reader_t, reserved, 32);

AT(shm_stats_t, counters, 0);
AT(shm_stats_t, drops_base, 960);
AT(shm_stats_t, finished_base, 976);
AT(shm_stats_t, scheduled, 1024);
AT(shm_stats_t, hists, 1056);
_Static_assert(SHM_COUNTER_TOTAL <= SHM_COUNTER_SPACE, "not enough room for the counters");
SIZE(rt_hist_t, RT_HIST_BYTES);

AT(shm_worker_page_t, magic, 0);
AT(shm_worker_page_t, version, 8);
AT(shm_worker_page_t, pid, 12);
AT(shm_worker_page_t, pool, 16);
AT(shm_worker_page_t, name_space, 81);
AT(shm_worker_page_t, cpu_wanted, 148);
AT(shm_worker_page_t, heartbeat_mono_ns, 184);
AT(shm_worker_page_t, wake_latency, 264);
AT(shm_worker_page_t, calls_filtered, 8744);
AT(shm_worker_page_t, calls_refused, 8752);
AT(shm_worker_page_t, slot_checks, 8760);

SIZE(shm_worker_page_t, 8768);

AT(shm_slot_cursors_t, tail, 0);
AT(shm_slot_cursors_t, writing, 8);
AT(shm_slot_cursors_t, suppressed, 16);
SIZE(shm_slot_cursors_t, SHM_SLOT_CURSORS_BYTES);

AT(shm_event_t, mono_ns, 0);
AT(shm_event_t, last_mono_ns, 8);
AT(shm_event_t, count, 16);
AT(shm_event_t, a, 24);
AT(shm_event_t, b, 32);
AT(shm_event_t, c, 40);
AT(shm_event_t, id, 48);
AT(shm_event_t, pid, 52);
AT(shm_event_t, channel_id, 56);
AT(shm_event_t, channel, 64);
SIZE(shm_event_t, 128);

AT(shm_error_t, state, 0);
AT(shm_error_t, id, 4);
AT(shm_error_t, count, 8);
AT(shm_error_t, first_mono_ns, 16);
AT(shm_error_t, last_mono_ns, 24);
AT(shm_error_t, a, 32);
AT(shm_error_t, channel_id, 40);
AT(shm_error_t, channel, 48);
AT(shm_error_t, text, 112);
SIZE(shm_error_t, 256);

AT(shm_error_log_t, others, 0);
AT(shm_error_log_t, others_last_mono_ns, 8);
AT(shm_error_log_t, errors, RT_LINE_BYTES);
_Static_assert(SHM_MAX_SLOTS == 1024 && SHM_MAX_PAYLOAD == 65507 && SHM_MAX_RECORD == 65535,
               "limits in rows/config.toml");

SIZE(shm_error_log_t, SHM_ERROR_LOG_BYTES);

AT(shm_worker_segment_t, page, 0);
AT(shm_worker_segment_t, recorder, SHM_RECORDER_OFFSET);
AT(shm_worker_segment_t, errors, SHM_ERRORS_OFFSET);
AT(shm_worker_segment_t, pool_errors, SHM_POOL_ERRORS_OFFSET);
SIZE(shm_worker_segment_t, SHM_WORKER_SEGMENT_BYTES);
_Static_assert((SHM_RECORDER_EVENTS & (SHM_RECORDER_EVENTS - 1)) == 0, "slots of a ring");

SIZE(ctl_header_t, 24);
SIZE(ctl_channel_t, 72);
SIZE(ctl_list_t, 8);
SIZE(ctl_open_t, 16);
SIZE(ctl_opened_t, 8);
SIZE(ctl_attach_t, 88);
SIZE(ctl_attached_t, 88);
SIZE(ctl_pong_t, 16);
