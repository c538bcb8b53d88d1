/* name_table.h: finds an object by its name, in a time that does not grow with their number. Open
 * addressing in the caller's memory, at most half full. Nothing is allocated, and only pointers
 * move. Pure. */
#ifndef WRK_NAME_TABLE_H
#define WRK_NAME_TABLE_H

#include <stdint.h>

/* Embedded in each struct that has a name. */
typedef struct name_node {
    const char *name; /* owned by that struct, unchanged while it is in the table */
    uint32_t hash;
} name_node_t;

typedef struct name_table {
    name_node_t **places; /* caller's memory */
    uint32_t mask;
} name_table_t;

/* places: zeroed, place_count of them, a power of two and at least twice the number of names. */
void name_table_init(name_table_t *table, name_node_t **places, uint32_t place_count);

/* The name must not be in the table yet. */
void name_table_add(name_table_t *table, name_node_t *node, const char *name);

/* The node must be in the table. */
void name_table_remove(name_table_t *table, const name_node_t *node);

/* NULL: no object has this name. */
name_node_t *name_table_find(const name_table_t *table, const char *name);

#endif
