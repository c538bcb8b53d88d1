/* The arithmetic of phc.h: a weighted least-squares line through the last readings.
 *
 * All sums are taken relative to the newest reading, so that doubles hold them exactly enough:
 * times within the window are below 2^33 ns, offsets within it below 2^20 ns.
 */
#include "io/phc.h"

#include <stdlib.h>
#include <string.h>

#define STEP_FLOOR_NS 100000
#define STEP_DRIFT_DIVISOR 2000 /* 500 ppm */
#define SLOPE_LIMIT 1e-3

void phc_filter_init(phc_filter_t *filter)
{
    memset(filter, 0, sizeof *filter);
}

int64_t phc_filter_map(const phc_filter_t *filter, int64_t phc_ns)
{
    double since_ns = (double)(phc_ns - filter->base_phc_ns);
    return phc_ns + filter->base_offset_ns + (int64_t)(filter->slope * since_ns);
}

static bool is_step(const phc_filter_t *filter, const phc_point_t *point)
{
    if (filter->count == 0)
        return false;
    int64_t expected_ns = phc_filter_map(filter, point->phc_ns) - point->phc_ns;
    int64_t passed_ns = llabs(point->phc_ns - filter->base_phc_ns);
    int64_t limit_ns = point->width_ns + STEP_FLOOR_NS + passed_ns / STEP_DRIFT_DIVISOR;
    return llabs(point->offset_ns - expected_ns) > limit_ns;
}

static void fit_line(phc_filter_t *filter, const phc_point_t *newest)
{
    double w = 0, wt = 0, wo = 0, wtt = 0, wto = 0;
    for (unsigned i = 0; i < filter->count; i++) {
        const phc_point_t *p = &filter->points[i];
        double t = (double)(p->phc_ns - newest->phc_ns);
        double o = (double)(p->offset_ns - newest->offset_ns);
        double width = (double)(p->width_ns > 0 ? p->width_ns : 1);
        double weight = 1.0 / (width * width);
        w += weight;
        wt += weight * t;
        wo += weight * o;
        wtt += weight * t * t;
        wto += weight * t * o;
    }
    double spread = w * wtt - wt * wt;
    double slope = spread > 0 ? (w * wto - wt * wo) / spread : 0;
    if (slope > SLOPE_LIMIT)
        slope = SLOPE_LIMIT;
    if (slope < -SLOPE_LIMIT)
        slope = -SLOPE_LIMIT;
    filter->slope = slope;
    filter->base_phc_ns = newest->phc_ns;
    filter->base_offset_ns = newest->offset_ns + (int64_t)((wo - slope * wt) / w);
}

void phc_filter_add(phc_filter_t *filter, int64_t phc_ns, int64_t target_ns, int64_t width_ns)
{
    phc_point_t point = {.phc_ns = phc_ns, .offset_ns = target_ns - phc_ns, .width_ns = width_ns};
    if (is_step(filter, &point)) {
        filter->count = 0;
        filter->next = 0;
    }
    filter->points[filter->next] = point;
    filter->next = (filter->next + 1) % PHC_FILTER_POINTS;
    if (filter->count < PHC_FILTER_POINTS)
        filter->count++;
    fit_line(filter, &point);
}
