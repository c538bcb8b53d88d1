#include "shm/mux_layout.h"

#include "shm/layout_assert.h"

SIZE(mux_config_t, 8);
SIZE(mux_head_t, 8);
SIZE(mux_request_t, 32);
SIZE(mux_reply_t, 32);
SIZE(mux_port_t, 88);
SIZE(mux_facts_t, RT_LINE_BYTES);

AT(mux_head_t, number, 0);
AT(mux_head_t, port, 4);
AT(mux_head_t, generation, 6);

AT(mux_request_t, op, 0);
AT(mux_request_t, port, 4);
AT(mux_request_t, generation, 6);
AT(mux_request_t, address, 8);

AT(mux_reply_t, error, 0);
AT(mux_reply_t, address, 8);

AT(mux_port_t, state, 0);
AT(mux_port_t, generation, 4);
AT(mux_port_t, local, 8);
AT(mux_port_t, target, 32);
AT(mux_port_t, source, 56);
AT(mux_port_t, drops, 80);

AT(mux_facts_t, open, 0);
AT(mux_facts_t, lost, 4);

_Static_assert(sizeof(mux_config_t) <= SHM_ENGINE_CONFIG_BYTES, "the engine's configuration fits");
_Static_assert(MUX_MAX_PORTS <= 0x10000u, "a place fits 16 bits");
