/* A fixed rate whatever happens: for dedicated paths, and as a steady load in tests. The window is
 * the peer's, so only its buffer and the rate delay packets. udt_cc_ops.h defines how the rate is
 * counted. */
#include "proto/udt/udt_cc_tables.h"

static void fixed_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in)
{
    double bits = in->mss_bytes * 8.0;
    cc->period_ps = udt_cc_period_ps(bits * (double)UDT_CC_PS_PER_S / (double)config->rate_bps);
    cc->cwnd_packets = udt_cc_packets(in->max_cwnd_packets);
}

const udt_cc_ops_t udt_cc_fixed_ops = {
    .init = fixed_init,
};
