/* layout_assert.h: what two processes share stays where it is, or does not compile. A
 * failing line means that the layout has changed: first raise SHM_LAYOUT_VERSION and
 * describe the change in LAYOUT.md. */
#ifndef SHM_LAYOUT_ASSERT_H
#define SHM_LAYOUT_ASSERT_H

#include <stddef.h>

#define AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " moved")
#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed its size")

#endif
