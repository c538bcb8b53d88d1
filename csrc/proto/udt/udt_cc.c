#include "proto/udt/udt_cc.h"

#include "base/rt_err.h"
#include "proto/udt/udt_cc_tables.h"

#include <errno.h>
#include <inttypes.h>

static const udt_cc_ops_t *const tables[UDT_CC_KINDS] = {
    [UDT_CC_DAIMD] = &udt_cc_daimd_ops,
    [UDT_CC_FIXED] = &udt_cc_fixed_ops,
    [UDT_CC_BBR] = &udt_cc_bbr_ops,
};

int udt_cc_init(udt_cc_t *cc, const udt_cc_config_t *config, const udt_cc_in_t *in)
{
    if ((unsigned)config->kind >= UDT_CC_KINDS)
        return rt_err_set(-EINVAL, "congestion control is number %d; set 0 .. %d",
                          (int)config->kind, UDT_CC_KINDS - 1);
    if (config->kind == UDT_CC_FIXED &&
        (config->rate_bps < 1 || config->rate_bps > UDT_CC_MOST_RATE_BPS))
        return rt_err_set(-EINVAL,
                          "fixed rate is %" PRIu64 " bit/s; set 1 .. %" PRIu64
                          ", or another congestion control",
                          config->rate_bps, UDT_CC_MOST_RATE_BPS);
    cc->ops = tables[config->kind];
    cc->ops->init(cc, config, in);
    return 0;
}
